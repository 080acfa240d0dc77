//! Headers of a message, packed into one run of bytes: for each its name and value, with their lengths before them.

/// Names in their order, each with a value or none; a name may come twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headers<B = Vec<u8>>(B);

/// Stands for the length of a value that is null.
const NULL: u32 = u32::MAX;

impl Headers {
    pub fn push(&mut self, name: &str, value: Option<&[u8]>) {
        pack(&mut self.0, name, value);
    }

    /// Bytes held in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.capacity()
    }
}

impl<B: AsRef<[u8]>> Headers<B> {
    /// What `bytes` gave. Of other bytes, it has the headers up to where they make no sense.
    #[must_use]
    pub fn packed(bytes: B) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        let mut rest = self.bytes();
        std::iter::from_fn(move || next(&mut rest))
    }

    /// The last value of that name; `None` where it is null, too.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().filter(|(other, _)| *other == name).last()?.1
    }

    #[must_use]
    pub fn to_owned(&self) -> Headers {
        Headers(self.bytes().to_vec())
    }
}

/// Adds a header to packed ones. A value of 4 GiB and more is none that Kafka could carry.
pub fn pack(bytes: &mut Vec<u8>, name: &str, value: Option<&[u8]>) {
    let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(NULL);
    bytes.extend_from_slice(&length(name.as_bytes()).to_le_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&value.map_or(NULL, length).to_le_bytes());
    bytes.extend_from_slice(value.unwrap_or_default());
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Option<&'a [u8]>)> {
    let length = length(rest)?;
    let name = std::str::from_utf8(take(rest, length)?).ok()?;
    match self::length(rest)? {
        NULL => Some((name, None)),
        length => Some((name, Some(take(rest, length)?))),
    }
}

fn length(rest: &mut &[u8]) -> Option<u32> {
    let (length, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_le_bytes(*length))
}

fn take<'a>(rest: &mut &'a [u8], length: u32) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = after;
    Some(taken)
}
