//! Between `object_store` and the network: listings as they come, and keys as they are.
//!
//! `object_store` makes paths of keys: `a/`, `/a`, `a//b` and a tab are none, and one such key fails a whole page. So a
//! listing's body is left beside, and a key that is no path travels in a name of ours and is put back here.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use object_store::ClientOptions;
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

/// Where the body of an answer is left.
#[derive(Debug, Clone, Default)]
pub(super) struct Body(Arc<OnceLock<Bytes>>);

impl Body {
    pub(super) fn take(&self) -> Option<&Bytes> {
        self.0.get()
    }
}

/// Stands before a key in hexadecimal digits.
const MARK: &str = "pipeline_core_exact_key_";

/// A name for a key that is no path.
pub(super) fn disguised(key: &str) -> String {
    key.bytes().fold(MARK.to_owned(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// The URI with the key put back, if there is one of ours in it.
fn undisguised(uri: &str) -> Option<String> {
    let (head, rest) = uri.split_once(MARK)?;
    let end = rest.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(rest.len());
    let (digits, tail) = rest.split_at(end);
    let mut whole = head.to_owned();
    for byte in unhex(digits)? {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            whole.push(char::from(byte));
        } else {
            write!(whole, "%{byte:02X}").ok()?;
        }
    }
    Some(whole + tail)
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Signs a request again; a store without it (Google's) signs no names.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    pub(super) credentials: AwsCredentialProvider,
    pub(super) region: String,
}

impl Signer {
    async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        request.headers_mut().remove("authorization");
        let credential = self.credentials.get_credential().await?;
        let digest = request.headers().get("x-amz-content-sha256").and_then(|digest| unhex(digest.to_str().ok()?));
        AwsAuthorizer::new(&credential, "s3", &self.region).try_authorize(request, digest.as_deref())
    }
}

/// Makes the client of a store; `signer` is set once the store is made.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire {
    pub(super) signer: Arc<OnceLock<Signer>>,
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Tapped { client, wire: self.clone() }))
    }
}

#[derive(Debug)]
struct Tapped {
    client: HttpClient,
    wire: Wire,
}

#[async_trait]
impl HttpService for Tapped {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let broken = |error: object_store::Error| HttpError::new(HttpErrorKind::Unknown, error);
        if let Some(uri) = undisguised(&request.uri().to_string())
            && let Ok(uri) = uri.parse()
        {
            *request.uri_mut() = uri;
            if let Some(signer) = self.wire.signer.get() {
                signer.sign(&mut request).await.map_err(broken)?;
            }
        }
        let wanted = request.extensions().get::<Body>().cloned();
        let answer = self.client.execute(request).await?;
        match wanted {
            Some(wanted) if answer.status().is_success() => {
                let (parts, body) = answer.into_parts();
                let _ = wanted.0.set(body.bytes().await?);
                Ok(HttpResponse::from_parts(parts, HttpResponseBody::from("<ListBucketResult/>".to_owned())))
            }
            _ => Ok(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_travels_in_a_name_and_is_put_back() {
        for (key, expected) in [
            ("/abs//x y", "http://h/b//abs//x%20y?uploads"),
            ("tab\t%2F\u{e9}", "http://h/b/tab%09%252F%C3%A9?uploads"),
        ] {
            let name = disguised(key);
            assert_eq!(object_store::path::Path::parse(&name).unwrap().as_ref(), name);
            assert_eq!(undisguised(&format!("http://h/b/{name}?uploads")).as_deref(), Some(expected));
        }
        assert_eq!(undisguised("http://h/b/plain"), None);
    }
}
