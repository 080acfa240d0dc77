//! What the API says when it refuses: two shapes of JSON, XML, or nothing.

use serde_json::Value;

/// Characters of it that a message shows.
const SHOWN: usize = 300;

/// An error's codes and its words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) codes: Vec<String>,
    words: Vec<String>,
}

impl Said {
    pub(super) fn of(body: &[u8]) -> Self {
        let mut said = Self::default();
        let text = String::from_utf8_lossy(body);
        match serde_json::from_str(&text) {
            Ok(document) => said.gather(&document),
            Err(_) => said.gather_xml(&text),
        }
        if said.words.is_empty() && said.codes.is_empty() && !text.trim().is_empty() {
            said.words.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        said
    }

    /// The errors in any part of an answer.
    pub(super) fn within(document: &Value) -> Self {
        let mut said = Self::default();
        said.gather(document);
        said
    }

    /// The same with `hide` done to every word: an answer may repeat what a request has sent.
    pub(super) fn hidden(mut self, hide: impl Fn(&str) -> String) -> Self {
        for word in self.codes.iter_mut().chain(&mut self.words) {
            *word = hide(word);
        }
        self
    }

    pub(super) fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|said| said.contains(code))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.codes.is_empty() && self.words.is_empty()
    }

    fn gather(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.gather(item)),
            Value::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
                self.codes.extend(text("code").map(str::to_owned));
                let words = ["description", "message", "info", "error_description"].into_iter().find_map(text);
                self.words.extend(words.map(str::to_owned));
                for name in ["errors", "error"] {
                    match fields.get(name) {
                        Some(Value::String(code)) => self.codes.push(code.clone()),
                        Some(nested) => self.gather(nested),
                        None => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn gather_xml(&mut self, text: &str) {
        for (name, found) in [("code", &mut self.codes), ("description", &mut self.words)] {
            let mut rest = text;
            while let Some((content, after)) = element(rest, name) {
                found.push(content.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
                rest = after;
            }
        }
    }
}

/// The content of the first element of this name, whatever its prefix, and what stands behind it.
fn element<'a>(text: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let mut rest = text;
    loop {
        let (head, tail) = rest.split_once(&format!("{name}>"))?;
        if head.ends_with(['<', ':']) {
            let (content, after) = tail.split_once("</")?;
            return Some((content, after.split_once('>').map_or("", |(_, after)| after)));
        }
        rest = tail;
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("without a word");
        }
        let parts: Vec<_> = self.codes.iter().chain(&self.words).map(String::as_str).collect();
        let whole = parts.join(": ");
        f.write_str(whole.char_indices().nth(SHOWN).map_or(&*whole, |(at, _)| &whole[..at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_an_error_is_read() {
        let shapes = [
            r#"{"errors":{"error":[{"code":"A.B","field":"x","description":"No such thing","info":"i"}]}}"#,
            r#"{"error":[{"code":"A.B","description":"No such thing"}]}"#,
            r#"{"errors":[{"code":"A.B","message":"No such thing"}]}"#,
            r#"{"errors":{"error":{"code":"A.B","info":"No such thing"}}}"#,
            r#"{"error":"A.B","error_description":"No such thing"}"#,
            r#"<?xml version="1.0"?><ns2:errors xmlns:ns2="http://x/"><ns2:error><ns2:code>A.B</ns2:code>
               <ns2:description>No such thing</ns2:description></ns2:error></ns2:errors>"#,
            "<errors><error><code>A.B</code><description>No such thing</description></error></errors>",
        ];
        for shape in shapes {
            let said = Said::of(shape.as_bytes());
            assert!(said.has("A.B"), "{shape}");
            assert!(said.to_string().contains("No such thing"), "{shape}: {said}");
        }
    }

    #[test]
    fn what_is_no_error_is_shown_as_it_is() {
        assert_eq!(Said::of(b"").to_string(), "without a word");
        assert_eq!(Said::of(b"<html>\n Bad  gateway").to_string(), "<html> Bad gateway");
        assert_eq!(Said::of("\u{e9}".repeat(1000).as_bytes()).to_string().chars().count(), SHOWN);
    }
}
