//! How far a collection has been read in the order of a field, and what of it was seen ahead of that.
//!
//! A document that is younger than the lag does not move the position: an older one may still become visible. It is sent
//! at once, and remembered until it is old enough.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bson::{Bson, Document, RawBsonRef, RawDocument, doc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use super::class::{Class, Path, stamp};
use super::extended;

/// A place in the order of a field: behind it nothing was sent that is not remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Place {
    #[serde(with = "extended")]
    pub(super) value: Bson,
    /// Among those with the same value; `None` is behind all of them.
    #[serde(with = "extended::option", default)]
    pub(super) id: Option<Bson>,
}

/// What a scan remembers between two runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Marks {
    pub(super) lows: BTreeMap<Class, Place>,
    #[serde(default, skip_serializing_if = "Seen::is_empty")]
    pub(super) seen: Seen,
    /// When that was, by the server's clock: milliseconds since 1970.
    #[serde(default)]
    pub(super) at: i64,
}

/// The same place, whenever it was reached.
impl PartialEq for Marks {
    fn eq(&self, other: &Self) -> bool {
        self.lows == other.lows && self.seen == other.seen
    }
}

/// Hashes of documents that were sent ahead of the position, and when they are from.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Seen(HashMap<u64, i64>);

impl Seen {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Seen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut hashes: Vec<u64> = self.0.keys().copied().collect();
        hashes.sort_unstable();
        let bytes: Vec<u8> = hashes.into_iter().flat_map(u64::to_le_bytes).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        // They are as old as the marks.
        let hashes = bytes.chunks_exact(8).filter_map(|chunk| Some(u64::from_le_bytes(chunk.try_into().ok()?)));
        Ok(Self(hashes.map(|hash| (hash, i64::MAX)).collect()))
    }
}

/// What becomes of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    /// It was sent before, just as it is.
    Known,
    /// Too young, and there is no room to remember it.
    Waiting,
    /// Another scan reads it.
    Foreign,
}

/// What is read, and in which order.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// The order.
    pub(super) field: Path,
    /// Only documents in which this one has no order.
    pub(super) without: Option<Path>,
    /// Only documents in which the order is known.
    pub(super) ordered_only: bool,
}

#[derive(Debug)]
pub(super) struct Scan {
    pub(super) scope: Scope,
    /// Milliseconds; `None` where nothing is waited for.
    lag: Option<i64>,
    capacity: usize,
    pub(super) marks: Marks,
    round: Round,
}

/// One way through the collection, from the position to its end.
#[derive(Debug, Default)]
struct Round {
    now: i64,
    /// What is as old as this moves the position.
    horizon: i64,
    /// Their positions stay for the rest of the round.
    blocked: BTreeSet<Class>,
    met: HashSet<u64>,
    /// Those ahead of the position, where values are no times.
    ahead: BTreeMap<Class, VecDeque<(Place, u64)>>,
    waiting: u64,
}

impl Scan {
    pub(super) fn new(scope: Scope, lag: Option<i64>, capacity: usize, marks: Marks) -> Self {
        Self { scope, lag, capacity, marks, round: Round::default() }
    }

    /// Begins at the position again; `now` is the server's time.
    pub(super) fn begin(&mut self, now: i64) {
        let at = if self.marks.at > 0 { self.marks.at.min(now) } else { now };
        for seen in self.marks.seen.0.values_mut() {
            *seen = (*seen).min(at);
        }
        self.marks.at = now;
        let horizon = self.lag.map_or(i64::MAX, |lag| now.saturating_sub(lag));
        self.round = Round { now, horizon, ..Round::default() };
    }

    /// All there was has been taken. Returns how many documents have to wait.
    pub(super) fn end(&mut self) -> u64 {
        let met = std::mem::take(&mut self.round.met);
        self.marks.seen.0.retain(|hash, _| met.contains(hash));
        self.round.waiting
    }

    /// The documents behind the position, and the order in which they must be taken.
    pub(super) fn query(&self) -> (Document, Document) {
        let (field, lows) = (self.scope.field.dotted(), &self.marks.lows);
        let mut branches = Vec::new();
        let unknown: Vec<&str> =
            Class::ALL.iter().filter(|class| !lows.contains_key(class)).map(|class| class.alias()).collect();
        if !unknown.is_empty() {
            branches.push(doc! {&field: {"$type": unknown}});
        }
        for place in lows.values() {
            branches.push(doc! {&field: {"$gt": place.value.clone()}});
            if let Some(id) = &place.id {
                let mut later = vec![doc! {"_id": {"$gt": id.clone()}}];
                later.push(doc! {"_id": {"$type": later_types(id)}});
                branches.push(doc! {&field: {"$eq": place.value.clone()}, "$or": later});
            }
        }
        if !self.scope.ordered_only {
            branches.extend(self.scope.field.unordered());
        }
        let mut filter = doc! {"$or": branches};
        if let Some(path) = &self.scope.without {
            filter = doc! {"$and": [filter, {"$or": path.unordered()}]};
        }
        let sort = if self.scope.field.is_id() {
            doc! {"_id": 1}
        } else {
            doc! {field: 1, "_id": 1}
        };
        (filter, sort)
    }

    /// Decides on the next document, and moves the position.
    pub(super) fn take(&mut self, document: &RawDocument) -> Verdict {
        // What cannot be read is for the scan that its bytes may belong to: it will be refused.
        if let Some(path) = &self.scope.without
            && path.find(document).map_or(true, |value| Class::of(value).is_some())
        {
            return Verdict::Foreign;
        }
        let found = self.scope.field.find(document);
        if self.scope.ordered_only && found.as_ref().is_ok_and(|value| Class::of(*value).is_none()) {
            return Verdict::Foreign;
        }
        let hash = xxh3_64(document.as_bytes());
        let known = self.marks.seen.0.get(&hash).copied();
        let value = found.ok().flatten();
        let place = value.and_then(|value| self.place(value, document));
        let (Some(class), Some(value), Some(place)) = (Class::of(value), value, place) else {
            return self.remember(hash, known);
        };
        let time = stamp(value);
        let since = time.unwrap_or_else(|| known.unwrap_or(self.round.now));
        if since <= self.round.horizon && !self.round.blocked.contains(&class) {
            self.marks.lows.insert(class, place);
            self.marks.seen.0.remove(&hash);
            return if known.is_some() { Verdict::Known } else { Verdict::New };
        }
        self.round.blocked.insert(class);
        if time.is_none() {
            if known.is_none() && self.marks.seen.len() >= self.capacity {
                self.advance(class);
            }
            self.round.ahead.entry(class).or_default().push_back((place, hash));
        }
        self.remember(hash, known)
    }

    fn remember(&mut self, hash: u64, known: Option<i64>) -> Verdict {
        if known.is_none() && self.marks.seen.len() >= self.capacity {
            self.round.waiting += 1;
            return Verdict::Waiting;
        }
        self.round.met.insert(hash);
        if known.is_some() {
            return Verdict::Known;
        }
        self.marks.seen.0.insert(hash, self.round.now);
        Verdict::New
    }

    /// The position passes the first that is remembered: nothing says how old a number is.
    fn advance(&mut self, class: Class) {
        if let Some((place, hash)) = self.round.ahead.get_mut(&class).and_then(VecDeque::pop_front) {
            self.marks.lows.insert(class, place);
            self.marks.seen.0.remove(&hash);
            self.round.met.remove(&hash);
        }
    }

    fn place(&self, value: RawBsonRef<'_>, document: &RawDocument) -> Option<Place> {
        let owned = |value: RawBsonRef<'_>| Bson::try_from(value).ok();
        let id = if self.scope.field.is_id() { None } else { Some(owned(document.get("_id").ok()??)?) };
        Some(Place { value: owned(value)?, id })
    }
}

/// Types that the server sorts behind that of `id`.
fn later_types(id: &Bson) -> Vec<&'static str> {
    let raw = bson::RawBson::try_from(id.clone()).ok();
    let class = Class::of(raw.as_ref().map(bson::RawBson::as_raw_bson_ref));
    let later = Class::ALL.iter().filter(|other| class.is_none_or(|class| **other > class));
    later.map(|class| class.alias()).chain(["maxKey"]).collect()
}

#[cfg(test)]
mod tests {
    use bson::{DateTime, RawDocumentBuf, rawdoc};
    use proptest::prelude::*;

    use super::*;

    const LAG: i64 = 1000;

    /// A document that becomes visible at some time, with the stamp that its writer gave it.
    #[derive(Debug, Clone)]
    struct Written {
        id: i32,
        stamp: i64,
        visible: i64,
    }

    impl Written {
        fn document(&self) -> RawDocumentBuf {
            rawdoc! {"_id": self.id, "at": DateTime::from_millis(self.stamp)}
        }

        /// What the server finds behind a place.
        fn is_behind(&self, low: Option<&Place>) -> bool {
            let Some(Place { value: Bson::DateTime(at), id }) = low else { return true };
            let after = |id: &Bson| id.as_i32().is_some_and(|id| self.id > id);
            let at = at.timestamp_millis();
            self.stamp > at || (self.stamp == at && id.as_ref().is_some_and(after))
        }
    }

    fn scope() -> Scope {
        Scope { field: Path::new("at"), without: None, ordered_only: true }
    }

    /// Stamps and the times at which their documents can be seen, none of them later than the lag.
    fn written() -> impl Strategy<Value = Vec<Written>> {
        let one = (0..20_000i64, -LAG / 2..LAG);
        proptest::collection::vec(one, 1..80).prop_map(|all| {
            let number = |(id, (stamp, late)): (usize, (i64, i64))| Written {
                id: i32::try_from(id).unwrap(),
                stamp,
                visible: stamp + late,
            };
            all.into_iter().enumerate().map(number).collect()
        })
    }

    /// One round at `now`; the marks go through their text, as between two runs.
    fn round(marks: &mut Marks, all: &[Written], now: i64, capacity: usize, sent: &mut Vec<i32>) -> u64 {
        let text = serde_json::to_string(marks).unwrap();
        let mut scan = Scan::new(scope(), Some(LAG), capacity, serde_json::from_str(&text).unwrap());
        scan.begin(now);
        let low = scan.marks.lows.get(&Class::Date).cloned();
        let mut found: Vec<&Written> =
            all.iter().filter(|one| one.visible <= now && one.is_behind(low.as_ref())).collect();
        found.sort_by_key(|one| (one.stamp, one.id));
        for one in found {
            if scan.take(&one.document()) == Verdict::New {
                sent.push(one.id);
            }
        }
        let waiting = scan.end();
        assert!(scan.marks.seen.len() <= capacity);
        *marks = scan.marks;
        waiting
    }

    proptest! {
        #[test]
        fn what_becomes_visible_within_the_lag_is_sent_once(
            all in written(), pauses in proptest::collection::vec(1..3000i64, 1..40), capacity in 1..30usize,
        ) {
            let (mut marks, mut sent, mut now) = (Marks::default(), Vec::new(), 0);
            for pause in pauses {
                now += pause;
                round(&mut marks, &all, now, capacity, &mut sent);
            }
            let last = all.iter().map(|one| one.stamp.max(one.visible)).max().unwrap_or_default() + 2 * LAG;
            let waiting = round(&mut marks, &all, now.max(last), capacity, &mut sent);
            prop_assert_eq!(waiting, 0);
            sent.sort_unstable();
            let mut ids: Vec<i32> = all.iter().map(|one| one.id).collect();
            ids.sort_unstable();
            prop_assert_eq!(sent, ids);
            prop_assert_eq!(marks.seen.len(), 0);
        }

        #[test]
        fn the_position_never_passes_what_may_still_come(all in written(), now in 0..22_000i64) {
            let (mut marks, mut sent) = (Marks::default(), Vec::new());
            round(&mut marks, &all, now, 1000, &mut sent);
            if let Some(Place { value: Bson::DateTime(at), .. }) = marks.lows.get(&Class::Date) {
                prop_assert!(at.timestamp_millis() <= now - LAG);
            }
        }
    }

    #[test]
    fn numbers_have_no_age_and_the_last_of_them_are_remembered() {
        let scope = || Scope { field: Path::new("_id"), without: None, ordered_only: false };
        let mut scan = Scan::new(scope(), Some(LAG), 3, Marks::default());
        scan.begin(10_000);
        for id in 0..10 {
            assert_eq!(scan.take(&rawdoc! {"_id": id}), Verdict::New);
        }
        scan.end();
        assert_eq!(scan.marks.lows[&Class::Number].value, Bson::Int32(6));
        assert_eq!(scan.marks.seen.len(), 3);
        scan.begin(10_500);
        assert_eq!(scan.take(&rawdoc! {"_id": 7}), Verdict::Known);
        // Committed late.
        assert_eq!(scan.take(&rawdoc! {"_id": 7.5}), Verdict::New);
        for id in [8, 9] {
            assert_eq!(scan.take(&rawdoc! {"_id": id}), Verdict::Known);
        }
        scan.end();
        // Between two runs they grow older.
        let text = serde_json::to_string(&scan.marks).unwrap();
        let mut scan = Scan::new(scope(), Some(LAG), 3, serde_json::from_str(&text).unwrap());
        for (now, low) in [(11_400, Bson::Int32(7)), (11_500, Bson::Int32(9))] {
            scan.begin(now);
            for document in [rawdoc! {"_id": 7.5}, rawdoc! {"_id": 8}, rawdoc! {"_id": 9}] {
                assert_eq!(scan.take(&document), Verdict::Known);
            }
            scan.end();
            assert_eq!(scan.marks.lows[&Class::Number].value, low);
        }
    }

    #[test]
    fn where_nothing_is_waited_for_all_are_read_whatever_their_time() {
        let scope = Scope { field: Path::new("_id"), without: None, ordered_only: false };
        let mut scan = Scan::new(scope, None, 2, Marks::default());
        scan.begin(1000);
        for late in 0..10 {
            let id = bson::oid::ObjectId::parse_str(format!("7fffffff00000000000000{late:02x}")).unwrap();
            assert_eq!(scan.take(&rawdoc! {"_id": id}), Verdict::New);
        }
        assert_eq!(scan.end(), 0);
    }

    #[test]
    fn a_field_that_cannot_be_read_is_seen_by_one_scan() {
        let mut bytes = rawdoc! {"_id": 1, "at": "abcd"}.into_bytes();
        let at = bytes.windows(4).position(|four| four == b"abcd").unwrap();
        bytes[at] = 0xff;
        let broken = RawDocumentBuf::from_bytes(bytes).unwrap();
        let rest = Scope { field: Path::new("_id"), without: Some(Path::new("at")), ordered_only: false };
        let mut ordered = Scan::new(scope(), Some(LAG), 100, Marks::default());
        let mut rest = Scan::new(rest, Some(LAG), 100, Marks::default());
        ordered.begin(5000);
        rest.begin(5000);
        assert_eq!((ordered.take(&broken), rest.take(&broken)), (Verdict::New, Verdict::Foreign));
    }

    #[test]
    fn a_document_that_has_changed_is_another() {
        let mut scan = Scan::new(scope(), Some(LAG), 100, Marks::default());
        scan.begin(5000);
        let at = DateTime::from_millis(4900);
        assert_eq!(scan.take(&rawdoc! {"_id": 1, "at": at, "n": 1}), Verdict::New);
        scan.end();
        scan.begin(5000);
        assert_eq!(scan.take(&rawdoc! {"_id": 1, "at": at, "n": 1}), Verdict::Known);
        assert_eq!(scan.take(&rawdoc! {"_id": 1, "at": at, "n": 2}), Verdict::New);
    }

    #[test]
    fn each_scan_leaves_the_others_documents_alone() {
        let rest = Scope { field: Path::new("_id"), without: Some(Path::new("at")), ordered_only: false };
        let mut ordered = Scan::new(scope(), Some(LAG), 100, Marks::default());
        let mut rest = Scan::new(rest, Some(LAG), 100, Marks::default());
        ordered.begin(5000);
        rest.begin(5000);
        for (document, is_ordered) in [
            (rawdoc! {"_id": 1, "at": DateTime::from_millis(0)}, true),
            (rawdoc! {"_id": 2, "at": "text"}, true),
            (rawdoc! {"_id": 3}, false),
            (rawdoc! {"_id": 4, "at": bson::RawBson::Null}, false),
            (rawdoc! {"_id": 5, "at": [1, 2]}, false),
            (rawdoc! {"_id": 6, "at": f64::NAN}, false),
            // Without an id nothing can be sent: it is refused, and must be seen for that.
            (rawdoc! {"at": DateTime::from_millis(0)}, true),
        ] {
            let expected = if is_ordered { (Verdict::New, Verdict::Foreign) } else { (Verdict::Foreign, Verdict::New) };
            assert_eq!((ordered.take(&document), rest.take(&document)), expected, "{document:?}");
        }
    }
}
