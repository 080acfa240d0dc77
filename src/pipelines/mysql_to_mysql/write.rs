//! A chunk into the target, in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::read::{Chunk, Referred, by_keys};
use super::statements::{Change, Statements};
use super::tables::{Cell, Copied, Plan, Sheet};
use super::tally::Tally;
use super::transform::{Item, Row, check, check_row, is_deleted, is_same};
use crate::error::{Error, Kind, Result};
use crate::fault::fault;
use crate::sql::{Database, Transaction, Value, is_duplicate, until_committed};

/// Seconds that one look at the lock takes; it is looked at again.
const LOCK_SECONDS: i64 = 10;

pub(super) struct Writer {
    pub(super) target: Database,
    pub(super) source: Database,
    pub(super) plan: Arc<Plan>,
    /// Write again what has changed.
    pub(super) update: bool,
    pub(super) dry_run: bool,
    /// A row that is refused ends the run.
    pub(super) stops: bool,
    /// Bytes that the server takes at once.
    pub(super) packet: usize,
    /// Name of the lock that two runs share.
    pub(super) lock: String,
    pub(super) max_retries: u32,
    pub(super) stop: CancellationToken,
    /// Rows that items refer to and that the target has, for each reference.
    pub(super) known: Vec<HashSet<String>>,
}

/// What an attempt has done.
#[derive(Debug, Clone, Default)]
struct Done {
    tally: Tally,
    known: Vec<HashSet<String>>,
}

impl Writer {
    /// Returns what became of the chunk, and how often it was tried again.
    ///
    /// # Errors
    /// `Rejected` when a row is refused and that ends the run; nothing of the chunk was written then.
    pub(super) async fn write(&mut self, chunk: &Chunk) -> Result<(Tally, u32)> {
        // Of the last attempt that came as far as its COMMIT: where the reply is lost, this is what it has done.
        let sent = Mutex::new(None);
        let attempt = || async {
            let outcome = self.attempt(chunk, &sent).await;
            // A session that is gone has taken its lock with it.
            let _ = self.target.query("SELECT RELEASE_LOCK(?)", &[Value::Text(&self.lock)]).await;
            outcome
        };
        let (done, retries) = until_committed("Migrating items", self.max_retries, &self.stop, attempt).await?;
        for (all, more) in self.known.iter_mut().zip(done.known) {
            all.extend(more);
        }
        Ok((done.tally, retries))
    }

    async fn attempt(&self, chunk: &Chunk, sent: &Mutex<Option<Done>>) -> Result<Done> {
        let mut transaction = self.target.begin().await?;
        self.take_lock(&mut transaction).await?;
        fault("after_begin");
        let mut done = Done { tally: chunk.tally.clone(), known: vec![HashSet::new(); self.plan.references.len()] };
        let items = self.look_up(&mut transaction, &chunk.items, &mut done.tally).await?;
        let items = self.refer(&mut transaction, chunk, items, &mut done).await?;
        let going = self.put_items(&mut transaction, &items, &mut done.tally).await?;
        for (number, copied) in self.plan.children.iter().enumerate() {
            let (children, kept) = (&chunk.children[number], &chunk.kept[number]);
            self.put_children(&mut transaction, copied, (children, kept), &going, &mut done.tally).await?;
        }
        fault("after_rows");
        if self.stops && done.tally.rejected() > 0 {
            transaction.roll_back().await?;
            return Err(refusal(&done.tally));
        }
        if self.dry_run {
            transaction.roll_back().await?;
            return Ok(done);
        }
        let done = settled(sent, done);
        fault("before_commit_sql");
        transaction.commit().await?;
        fault("after_commit_sql");
        Ok(done)
    }

    /// One chunk of all runs at a time: two that read the same rows would write them twice.
    async fn take_lock(&self, transaction: &mut Transaction) -> Result<()> {
        let values = [Value::Text(&self.lock), Value::Int(LOCK_SECONDS)];
        let rows = transaction.query("SELECT CAST(GET_LOCK(?, ?) AS SIGNED)", &values).await?;
        match rows.first().map(|row| row.int(0)).transpose()?.flatten() {
            Some(1) => Ok(()),
            _ => Err(Error::new(Kind::Unavailable, format!("Another run holds the lock {}", self.lock))),
        }
    }

    /// Puts ids in the place of names.
    async fn look_up(&self, transaction: &mut Transaction, items: &[Item], tally: &mut Tally) -> Result<Vec<Item>> {
        let mut found = Vec::new();
        for (number, (_, sheet)) in self.plan.look_ups.iter().enumerate() {
            let places = || self.plan.from.iter().enumerate().filter(|(_, from)| from.look_up == Some(number));
            let names: HashSet<&str> =
                items.iter().flat_map(|item| places().filter_map(|(at, _)| item.row[at + 1].text())).collect();
            let names: Vec<&str> = names.into_iter().collect();
            let mut ids = HashMap::<String, Vec<Cell>>::new();
            for mut row in by_keys(transaction, sheet, 0, &names, "").await? {
                let (id, name) = (row.pop().unwrap_or(Cell::Null), row.pop());
                let ids = ids.entry(name.as_ref().and_then(Cell::text).unwrap_or_default().to_owned()).or_default();
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            found.push(ids);
        }
        let mut going = Vec::with_capacity(items.len());
        for item in items {
            let mut item = item.clone();
            let looked_up = self.plan.from.iter().enumerate().try_for_each(|(at, from)| {
                let Some(number) = from.look_up else { return Ok(()) };
                if let Some(name) = item.row[at + 1].text() {
                    item.row[at + 1] = self.id(number, name, &found[number])?;
                }
                check(self.plan.target.column(at + 1), &item.row[at + 1])
            });
            let fits = looked_up.and_then(|()| self.items().check_size(&item.row));
            match fits {
                Ok(()) => going.push(item),
                Err(reason) => tally.reject(&self.plan.target.table.name, Some(item.key), reason),
            }
        }
        Ok(going)
    }

    fn id(&self, number: usize, name: &str, found: &HashMap<String, Vec<Cell>>) -> Result<Cell, String> {
        let (look_up, _) = &self.plan.look_ups[number];
        match found.get(name).map(Vec::as_slice) {
            Some([id]) => Ok(id.clone()),
            Some(_) => Err(format!("{} {name:?} has several {} in {}", look_up.name, look_up.id, look_up.table)),
            None => Err(format!("{} {name:?} is not in {}", look_up.name, look_up.table)),
        }
    }

    /// Inserts what items refer to and the target does not have. Gives the items that may follow.
    async fn refer(
        &self,
        transaction: &mut Transaction,
        chunk: &Chunk,
        mut items: Vec<Item>,
        done: &mut Done,
    ) -> Result<Vec<Item>> {
        let name = &self.plan.target.table.name;
        for (number, copied) in self.plan.references.iter().enumerate() {
            let (known, read) = (&self.known[number], &chunk.references[number]);
            let wanted: HashSet<&str> = items.iter().filter_map(|item| item.refers[number].as_deref()).collect();
            let wanted: Vec<&str> = wanted.into_iter().filter(|key| !known.contains(*key)).collect();
            let there = by_keys(transaction, &copied.target, copied.key, &wanted, "").await?;
            let mut there: HashSet<String> =
                there.iter().filter_map(|row| row[copied.key].text()).map(str::to_owned).collect();
            let tally = &mut done.tally;
            tally.table(&copied.target.table.name).unchanged += there.len() as u64;
            tally.table(&copied.target.table.name).read += there.len() as u64;
            let statements = self.statements(&copied.target, copied.key, None);
            let (mut changes, mut refused) = (Vec::new(), HashMap::new());
            for key in wanted.iter().filter(|key| !there.contains(**key)) {
                let Some(Referred::There(row)) = read.get(*key) else { continue };
                tally.table(&copied.target.table.name).read += 1;
                match check_row(&copied.target, row).and_then(|()| statements.check_size(row)) {
                    Ok(()) => changes.push(Change::Insert(row)),
                    Err(reason) => drop(refused.insert((*key).to_owned(), reason)),
                }
            }
            refused.extend(self.carefully(transaction, statements, &changes, tally).await?);
            for (key, reason) in &refused {
                tally.reject(&copied.target.table.name, Some(key.clone()), reason.clone());
            }
            there.extend(
                changes
                    .iter()
                    .filter_map(|change| change.row()[copied.key].text())
                    .filter(|key| !refused.contains_key(*key))
                    .map(str::to_owned),
            );
            items.retain(|item| {
                let Some(key) = &item.refers[number] else { return true };
                if known.contains(key) || there.contains(key) {
                    return true;
                }
                let (column, table) = (&self.plan.task.references[number].column, &copied.source.table.name);
                let reason = match read.get(key) {
                    Some(Referred::Deleted) => {
                        tally.table(name).skipped += 1;
                        return false;
                    }
                    Some(Referred::There(_)) => format!("{column}: the row {key} of {table} was refused"),
                    None => format!("{column}: {table} has no row {key}"),
                };
                tally.reject(name, Some(item.key.clone()), reason);
                false
            });
            done.known[number] = there;
        }
        Ok(items)
    }

    /// Inserts and updates items. Gives the keys of those whose children shall be as in the source.
    async fn put_items<'a>(
        &self,
        transaction: &mut Transaction,
        items: &'a [Item],
        tally: &mut Tally,
    ) -> Result<HashSet<&'a str>> {
        let (sheet, name) = (&self.plan.target, &self.plan.target.table.name);
        let keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
        let there = grouped(by_keys(transaction, sheet, 0, &keys, " FOR UPDATE").await?, 0);
        let (mut changes, mut going) = (Vec::new(), HashSet::new());
        for item in items {
            match there.get(&item.key) {
                None => changes.push(Change::Insert(&item.row)),
                Some(_) if !self.update => {
                    tally.table(name).unchanged += 1;
                    continue;
                }
                Some(rows) if rows.iter().all(|row| is_same(sheet, &item.row, row)) => {
                    tally.table(name).unchanged += 1;
                }
                Some(_) => changes.push(Change::Update(&item.row)),
            }
            going.insert(item.key.as_str());
        }
        for (key, reason) in self.carefully(transaction, self.items(), &changes, tally).await? {
            going.remove(key.as_str());
            tally.reject(name, Some(key), reason);
        }
        Ok(going)
    }

    /// Makes the children of these items equal to the source's.
    async fn put_children(
        &self,
        transaction: &mut Transaction,
        copied: &Copied,
        (children, kept): (&[Row], &HashSet<String>),
        going: &HashSet<&str>,
        tally: &mut Tally,
    ) -> Result<()> {
        let (sheet, name) = (&copied.target, &copied.target.table.name);
        let parent = copied.parent.unwrap_or_default();
        let statements = self.statements(sheet, copied.key, Some(parent));
        let is_going = |row: &Row| row[parent].text().is_some_and(|key| going.contains(key));
        let wanted: Vec<&Row> = children.iter().filter(|row| is_going(row)).collect();
        tally.table(name).skipped += (children.len() - wanted.len()) as u64;
        let keys: HashSet<&str> = wanted.iter().filter_map(|row| row[copied.key].text()).collect();
        let parents: Vec<&str> = going.iter().copied().collect();
        let mut rows = by_keys(transaction, sheet, parent, &parents, " FOR UPDATE").await?;
        let found: HashSet<&str> = rows.iter().filter_map(|row| row[copied.key].text()).collect();
        let elsewhere: Vec<&str> = keys.iter().copied().filter(|key| !found.contains(key)).collect();
        let elsewhere = by_keys(transaction, sheet, copied.key, &elsewhere, " FOR UPDATE").await?;
        let doubles = self.doubles(copied, &elsewhere).await?;
        let gone: Vec<Row> = rows
            .iter()
            .filter(|row| row[copied.key].text().is_some_and(|key| !keys.contains(key) && !kept.contains(key)))
            .cloned()
            .collect();
        rows.extend(elsewhere);
        let there = grouped(rows, copied.key);
        let mut changes: Vec<Change<'_>> = gone.iter().map(Change::Remove).collect();
        for row in wanted {
            let key = row[copied.key].text().unwrap_or_default();
            if doubles.contains(key) {
                tally.reject(name, Some(key.to_owned()), "the source has this key twice");
                continue;
            }
            if let Err(reason) = statements.check_size(row) {
                tally.reject(name, Some(key.to_owned()), reason);
                continue;
            }
            match there.get(key) {
                None => changes.push(Change::Insert(row)),
                Some(rows) if rows.iter().all(|other| is_same(sheet, row, other)) => tally.table(name).unchanged += 1,
                Some(_) => changes.push(Change::Update(row)),
            }
        }
        for (key, reason) in self.carefully(transaction, statements, &changes, tally).await? {
            tally.reject(name, Some(key), reason);
        }
        Ok(())
    }

    /// Of children that the target has under another item, those that the source has there as well.
    async fn doubles(&self, copied: &Copied, elsewhere: &[Row]) -> Result<HashSet<String>> {
        let parent = copied.parent.unwrap_or_default();
        let place = |row: &Row| Some((row[copied.key].text()?.to_owned(), row[parent].text()?.to_owned()));
        let places: HashSet<(String, String)> = elsewhere.iter().filter_map(place).collect();
        if places.is_empty() {
            return Ok(HashSet::new());
        }
        let keys: Vec<&str> = places.iter().map(|(key, _)| key.as_str()).collect();
        let mut transaction = self.source.begin().await?;
        let rows = by_keys(&mut transaction, &copied.source, copied.key, &keys, "").await?;
        transaction.roll_back().await?;
        let there = rows.iter().filter(|row| !is_deleted(copied.deleted.map(|at| &row[at]))).filter_map(place);
        Ok(there.filter(|found| places.contains(found)).map(|(key, _)| key).collect())
    }

    fn items(&self) -> Statements<'_> {
        self.statements(&self.plan.target, 0, None)
    }

    fn statements<'a>(&self, sheet: &'a Sheet, key: usize, parent: Option<usize>) -> Statements<'a> {
        Statements { sheet, key, parent, dialect: self.target.dialect(), packet: self.packet }
    }

    /// Halves what the server refuses until the guilty rows stand alone; gives their keys and why.
    async fn carefully<'a>(
        &self,
        transaction: &mut Transaction,
        statements: Statements<'a>,
        changes: &[Change<'a>],
        tally: &mut Tally,
    ) -> Result<Vec<(String, String)>> {
        let mut refused = Vec::new();
        let mut parts = vec![changes];
        while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
            transaction.say("SAVEPOINT part").await?;
            match statements.apply(transaction, part).await {
                Ok(()) => count(statements.sheet, part, tally),
                Err(error) if error.kind() == Kind::Rejected || is_duplicate(&error) => {
                    transaction.say("ROLLBACK TO SAVEPOINT part").await?;
                    if let [change] = part {
                        let key = change.row()[statements.key].text().unwrap_or_default();
                        refused.push((key.to_owned(), error.to_string()));
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }
}

/// An attempt that finds nothing to do after one that may have been committed: it was.
fn settled(sent: &Mutex<Option<Done>>, done: Done) -> Done {
    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    let done = sent.take().filter(|_| !done.tally.is_change()).unwrap_or(done);
    *sent = Some(done.clone());
    done
}

fn count(sheet: &Sheet, changes: &[Change<'_>], tally: &mut Tally) {
    for change in changes {
        let counts = tally.table(&sheet.table.name);
        match change {
            Change::Remove(_) => counts.removed += 1,
            Change::Insert(_) | Change::Update(_) => counts.written += 1,
        }
        if !matches!(change, Change::Remove(_)) {
            tally.bytes_written += change.row().iter().map(|cell| cell.bytes() as u64).sum::<u64>();
        }
    }
}

fn grouped(rows: Vec<Row>, key: usize) -> HashMap<String, Vec<Row>> {
    let mut found = HashMap::<String, Vec<Row>>::new();
    for row in rows {
        if let Some(key) = row[key].text().map(str::to_owned) {
            found.entry(key).or_default().push(row);
        }
    }
    found
}

/// The end of a run that shall stop at the first row that is refused.
pub(super) fn refusal(tally: &Tally) -> Error {
    let told = tally.rejected.first().map_or_else(String::new, |first| {
        let key = first.key.as_deref().unwrap_or("NULL");
        format!("{} {key}: {}", first.table, first.reason)
    });
    Error::new(Kind::Rejected, format!("A row was refused: {told}"))
        .hint("All chunks before it are committed. Mend the row, or leave such rows out with on_rejected=leave-out.")
}
