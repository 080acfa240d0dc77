//! Named places in the protocol where a test may kill or stop this very process.
//!
//! `PIPELINE_CORE_FAULT=after_cut:3:kill` kills it with SIGKILL the third time it passes `after_cut`;
//! `stop` sends SIGSTOP. Without the feature `failpoints` there is nothing here.

#[cfg(not(feature = "failpoints"))]
pub(crate) fn fault(_place: &str) {}

#[cfg(feature = "failpoints")]
pub(crate) fn fault(place: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static FAULT: OnceLock<Option<(String, u32, String)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    let fault = FAULT.get_or_init(|| {
        let text = std::env::var("PIPELINE_CORE_FAULT").ok()?;
        let [place, count, signal] = text.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
        Some((place.to_owned(), count.parse().ok()?, signal.to_uppercase()))
    });
    let Some((_, count, signal)) = fault.as_ref().filter(|(at, ..)| at == place) else { return };
    if PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count {
        let pid = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "The fault could not be sent");
    }
}
