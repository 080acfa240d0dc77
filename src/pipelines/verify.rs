//! Whether the objects under a URL hold a topic's records, each once: from names and footers alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::config::{Kafka, Store};
use crate::error::{Error, Result};
use crate::kafka::{Client, TopicReader};
use crate::store::{Found, Place, read_footers};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub kafka: Kafka,
    pub store: Store,
    pub to: String,
    pub prefix: String,
    pub topic: String,
    pub name: String,
    /// Compare with the topic; else only the objects with each other.
    pub with_topic: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kafka: Kafka::default(),
            store: Store::default(),
            to: String::new(),
            prefix: "raw_streaming/".to_owned(),
            topic: "supply-chain-orders".to_owned(),
            name: "orders".to_owned(),
            with_topic: true,
        }
    }
}

/// What was found; `ok` when every record that the topic holds is in exactly one object.
#[derive(Debug, Serialize)]
pub struct Verified {
    pub topic: String,
    pub url: String,
    pub ok: bool,
    pub partitions: Vec<Partition>,
    pub problems: Vec<String>,
    /// `None` where the files have no footers to tell it.
    pub rows: Option<u64>,
    pub rejected: u64,
    pub objects: u64,
}

/// The objects of one partition.
#[derive(Debug, Default, Serialize)]
pub struct Partition {
    pub partition: i32,
    pub objects: u64,
    pub rows: Option<u64>,
    pub rejected: u64,
    pub first_offset: Option<i64>,
    pub last_offset: Option<i64>,
    /// Offsets, first and last, that no object accounts for though the topic has records there.
    pub gaps: Vec<(i64, i64)>,
    pub overlaps: Vec<(i64, i64)>,
    pub topic_low: Option<i64>,
    pub topic_high: Option<i64>,
    /// Records of the topic that come after the last object.
    pub behind: u64,
}

/// # Errors
/// When the store or the broker cannot be reached; what is wrong with the data is in the result.
pub async fn run(config: Config, stop: CancellationToken) -> Result<Verified> {
    if config.to.is_empty() {
        return Err(Error::settings("It is not said where to look").hint("Name a URL or a path."));
    }
    let place = Place::open(&config.to, &config.store)?;
    let objects = place.objects_of(&config.prefix, &config.name, &config.topic).await?;
    let mut problems = Vec::new();
    let mut by_partition: BTreeMap<i32, Vec<Found>> = BTreeMap::new();
    let mut count = 0;
    for (mut found, error) in read_footers(&place, objects).await {
        count += 1;
        found.0 = place.full_url(&found.0);
        problems.extend(error.map(|error| error.to_string()));
        by_partition.entry(found.1.partition).or_default().push(found);
    }
    let mut partitions: Vec<Partition> =
        by_partition.into_iter().map(|(partition, found)| of_objects(partition, &found, &mut problems)).collect();
    if config.with_topic {
        tokio::task::block_in_place(|| compare(&config, &mut partitions, &stop))?;
    }
    if partitions.iter().all(|partition| partition.objects == 0) {
        problems.push(format!("No object under {} holds rows of {}", place.url(&config.prefix), config.topic));
    }
    for partition in &partitions {
        let said = |what: &str, ranges: &[(i64, i64)]| {
            ranges
                .iter()
                .map(|(first, last)| format!("Partition {}: {what} at offsets {first} to {last}", partition.partition))
                .collect::<Vec<_>>()
        };
        problems.extend(said("gap", &partition.gaps));
        problems.extend(said("overlap", &partition.overlaps));
        if partition.behind > 0 {
            problems.push(format!(
                "Partition {}: {} records at its end are not in any object",
                partition.partition, partition.behind
            ));
        }
    }
    let rows = partitions.iter().map(|partition| partition.rows).sum();
    let rejected = partitions.iter().map(|partition| partition.rejected).sum();
    let url = place.url(&config.prefix);
    Ok(Verified {
        topic: config.topic,
        url,
        ok: problems.is_empty(),
        partitions,
        problems,
        rows,
        rejected,
        objects: count,
    })
}

/// Objects of one cut share its range and stamp; cuts must follow each other.
fn of_objects(partition: i32, found: &[Found], problems: &mut Vec<String>) -> Partition {
    let mut out = Partition { partition, objects: found.len() as u64, rows: Some(0), ..Partition::default() };
    let mut cuts: BTreeMap<(i64, i64, &str), Vec<&Found>> = BTreeMap::new();
    for object in found {
        let (path, name, footer) = object;
        cuts.entry((name.first, name.last, &name.stamp)).or_default().push(object);
        match footer {
            Some(footer)
                if (footer.first, footer.last, footer.partition) != (name.first, name.last, name.partition) =>
            {
                problems.push(format!(
                    "{path}: the name says offsets {} to {}, the footer {} to {}",
                    name.first, name.last, footer.first, footer.last
                ));
            }
            Some(footer) => out.rows = out.rows.map(|rows| rows + footer.rows),
            None => out.rows = None,
        }
    }
    let mut reached: Option<i64> = None;
    for ((first, last, _), objects) in cuts {
        if let Some(footer) = objects.iter().find_map(|(.., footer)| footer.as_ref()) {
            out.rejected += footer.rejected;
            if footer.files != objects.len() as u64 {
                problems.push(format!(
                    "Partition {partition}: {} of {} objects of the cut at offsets {first} to {last} are there",
                    objects.len(),
                    footer.files
                ));
            }
            let records: u64 =
                objects.iter().filter_map(|(.., footer)| footer.as_ref()).map(|footer| footer.rows).sum();
            if records + footer.rejected > u64::try_from(last - first + 1).unwrap_or_default() {
                problems.push(format!("Partition {partition}: more rows than offsets at {first} to {last}"));
            }
        }
        match reached {
            Some(reached) if first <= reached => out.overlaps.push((first, reached.min(last))),
            Some(reached) if first > reached + 1 => out.gaps.push((reached + 1, first - 1)),
            _ => {}
        }
        out.first_offset.get_or_insert(first);
        reached = Some(reached.map_or(last, |reached| reached.max(last)));
    }
    out.last_offset = reached;
    out
}

/// Gaps without visible records (transaction markers, aborted or compacted records) are none.
fn compare(config: &Config, partitions: &mut Vec<Partition>, stop: &CancellationToken) -> Result<()> {
    let client = Client::new(&config.kafka, Some("pipeline_core.reader"))?;
    for number in 0..client.existing_partitions(&config.topic)? {
        let (low, high) = client.watermarks(&config.topic, number)?;
        let at = partitions.iter().position(|partition| partition.partition == number).unwrap_or_else(|| {
            partitions.push(Partition { partition: number, rows: Some(0), ..Partition::default() });
            partitions.len() - 1
        });
        let partition = &mut partitions[at];
        (partition.topic_low, partition.topic_high) = (Some(low), Some(high));
        let count = |first: i64, last: i64| count_visible(config, number, first, last, stop);
        let first = partition.first_offset.unwrap_or(high);
        let mut gaps = std::mem::take(&mut partition.gaps);
        if first > low && partition.objects > 0 {
            gaps.insert(0, (low, first - 1));
        }
        for gap in gaps {
            // What retention has deleted since cannot be looked at.
            if gap.0 < low || count(gap.0, gap.1)? > 0 {
                partition.gaps.push(gap);
            }
        }
        let next = partition.last_offset.map_or(low, |last| last + 1);
        partition.behind = count(next.max(low), high - 1)?;
    }
    partitions.sort_by_key(|partition| partition.partition);
    Ok(())
}

fn count_visible(config: &Config, partition: i32, first: i64, last: i64, stop: &CancellationToken) -> Result<u64> {
    if first > last {
        return Ok(0);
    }
    let range =
        |number: i32, (low, high): (i64, i64)| (number == partition).then(|| (first.max(low), (last + 1).min(high)));
    let mut reader = TopicReader::new(&config.kafka, &config.topic, None, range)?;
    let mut count = 0;
    while let Some((_, records)) = reader.next(4096, || stop.is_cancelled())? {
        count += records.len() as u64;
    }
    Ok(count)
}
