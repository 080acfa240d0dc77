//! Whether a run lives, and whether it is ready: its source is connected, and it has moved lately.

use serde_json::json;

use super::Watched;

/// Who can answer lives.
pub(super) fn live(run: &Watched) -> String {
    json!({"status": "live", "pipeline": run.pipeline}).to_string()
}

/// Ready or not, and why.
pub(super) fn ready(run: &Watched) -> (bool, String) {
    let still = run.stats.still_for();
    let reason = if !run.stats.is_connected() {
        Some("The source is not connected, or has no partition".to_owned())
    } else if still > run.ready_within {
        Some(format!("Nothing has moved for {} s", still.as_secs()))
    } else {
        None
    };
    let now = run.stats.snapshot();
    let body = json!({
        "status": if reason.is_none() { "ready" } else { "not ready" },
        "reason": reason,
        "pipeline": run.pipeline,
        "rows_read": now.rows_read,
        "rows_written": now.rows_written,
        "still_seconds": still.as_secs(),
    });
    (reason.is_none(), body.to_string())
}
