//! Whatever breaks, a restart loses nothing and repeats nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use pipeline_core::flow::memory::{Crash, Shared};
use pipeline_core::flow::{Lane, Policy, drive};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

type Log = BTreeMap<Lane, Vec<u64>>;
type Script = Vec<(u32, Crash, bool)>;

fn logs() -> impl Strategy<Value = Log> {
    prop::collection::btree_map(0..4i32, prop::collection::vec(any::<u64>(), 0..40), 1..4)
}

fn scripts() -> impl Strategy<Value = Script> {
    let crash = prop_oneof![Just(Crash::Before), Just(Crash::After)];
    prop::collection::vec((0..12u32, crash, any::<bool>()), 0..8)
}

fn policies() -> impl Strategy<Value = Policy> {
    (prop::option::of(1..9u64), 8..200usize, any::<bool>()).prop_map(|(rows, memory, together)| Policy {
        rows,
        bytes: None,
        age: Duration::from_secs(60),
        idle: None,
        memory,
        together,
    })
}

/// Runs the script: each process dies in its n-th effect, a zombie lives on beside its successor. Then one runs to the end.
fn survive(log: &Log, script: &Script, policies: &[Policy], commits_early: bool) -> Log {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let shared = Shared::new(log.clone());
    let policy = |run: usize| &policies[run % policies.len()];
    runtime.block_on(async {
        let stop = CancellationToken::new();
        for (run, (effects, crash, zombie)) in script.iter().enumerate() {
            let (source, mut sink) = shared.join(Some((*effects, *crash)));
            let mut source = if commits_early { source.committing_before_the_flush() } else { source };
            if *zombie {
                let (mut heir, mut heirs_sink) = shared.join(Some((*effects + 3, *crash)));
                let _ = tokio::join!(
                    drive(&mut source, &mut sink, policy(run), &stop),
                    drive(&mut heir, &mut heirs_sink, policy(run + 1), &stop),
                );
            } else {
                let _ = drive(&mut source, &mut sink, policy(run), &stop).await;
            }
        }
        let (mut source, mut sink) = shared.join(None);
        drive(&mut source, &mut sink, policy(script.len()), &stop).await.unwrap();
    });
    shared.visible()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_restart_loses_nothing_and_repeats_nothing(
        log in logs(), script in scripts(), policies in prop::collection::vec(policies(), 1..4),
    ) {
        prop_assert_eq!(survive(&log, &script, &policies, false), log);
    }
}

#[test]
fn committing_before_the_flush_is_noticed() {
    let log = Log::from([(0, (0..20).collect())]);
    let policy =
        Policy { rows: Some(4), bytes: None, age: Duration::from_secs(60), idle: None, memory: 1000, together: false };
    let lossy = (0..12).any(|effects| {
        let script = vec![(effects, Crash::Before, false)];
        survive(&log, &script, std::slice::from_ref(&policy), true) != log
    });
    assert!(lossy, "A source that commits before the flush must lose rows in this test");
}
