//! The user's model in children of ours: what dies takes one document with it, and no other.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pipeline_core::error::Kind;
use pipeline_core::process::{Converted, DocumentModel, ModelSettings, ModelSetup};
use tempfile::TempDir;

const MODULE: &str = r#"
import ctypes, json, os, time

class Model:
    @classmethod
    def from_document(cls, document):
        what = document["n"]
        if what == "exit":
            os._exit(7)
        if what == "crash":
            ctypes.string_at(0)
        if what == "hang":
            time.sleep(600)
        if what == "raise":
            raise ValueError("no good")
        if what == "none":
            return None
        if what == "memory":
            return {"n": len(bytearray(2**31))}
        while what == "print":
            os.write(1, b"x" * 65536)
        if what == "pid":
            return {"n": os.getpid()}
        return {"n": what}
"#;

struct Setup {
    folder: TempDir,
    settings: ModelSettings,
}

fn setup(processes: usize) -> Setup {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("mine.py"), MODULE).expect("a module");
    let child = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/pipeline_core/document_process.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let listing =
        std::process::Command::new(&python).args(["-c", "import sys; print(*sys.path[1:], sep='\\n')"]).output();
    let listing = String::from_utf8(listing.expect("Python").stdout).expect("its path");
    let path = std::iter::once(folder.path().to_string_lossy().into_owned()).chain(listing.lines().map(str::to_owned));
    let command = vec![python, child.to_string_lossy().into_owned()];
    let setup = ModelSetup { command, class: "mine:Model".to_owned(), path: path.collect() };
    let settings = ModelSettings { setup, processes, memory: Some(1 << 30), timeout: Duration::from_secs(20) };
    Setup { folder, settings }
}

fn documents(what: &[&str]) -> Vec<String> {
    what.iter().map(|what| format!("{{\"n\":\"{what}\"}}")).collect()
}

fn message(what: &str) -> Converted {
    Converted::Message(format!("{{\"n\":\"{what}\"}}").into_bytes())
}

fn refusal(converted: &Converted) -> &str {
    match converted {
        Converted::Refused(reason) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn documents_come_back_in_their_order_from_any_number_of_processes() {
    for processes in [1, 3] {
        let setup = setup(processes);
        let mut model = DocumentModel::start(setup.settings).expect("it loads");
        for count in [0_i32, 1, 2, 1000] {
            let given: Vec<_> = (0..count).map(|n| format!("{{\"n\":{{\"$numberInt\":\"{n}\"}}}}")).collect();
            let expected: Vec<_> =
                (0..count).map(|n| Converted::Message(format!("{{\"n\":{n}}}").into_bytes())).collect();
            assert_eq!(model.convert(&given).expect("converted"), expected);
        }
        assert_eq!(model.restarts(), 0);
        drop(setup.folder);
    }
}

#[test]
fn what_the_model_says_is_told_apart() {
    let setup = setup(1);
    let mut model = DocumentModel::start(setup.settings).expect("it loads");
    let converted = model.convert(&documents(&["a", "raise", "none", "b"])).expect("converted");
    let refused = Converted::Refused("ValueError: no good".to_owned());
    assert_eq!(converted, [message("a"), refused, Converted::LeftOut, message("b")]);
    assert_eq!(model.restarts(), 0);
}

#[test]
fn a_process_that_dies_takes_only_the_guilty_document_with_it() {
    let setup = setup(2);
    let mut model = DocumentModel::start(setup.settings).expect("it loads");
    let given = documents(&["exit", "a", "b", "crash", "c", "d", "exit", "exit", "e", "crash"]);
    let converted = model.convert(&given).expect("converted");
    for (place, what) in [(1, "a"), (2, "b"), (4, "c"), (5, "d"), (8, "e")] {
        assert_eq!(converted[place], message(what));
    }
    for place in [0, 6, 7] {
        assert_eq!(
            refusal(&converted[place]),
            "The model's process died: The model ended its process with exit code 7"
        );
    }
    for place in [3, 9] {
        assert!(refusal(&converted[place]).contains("was killed by signal 11 (SIGSEGV)"), "{:?}", converted[place]);
    }
    assert!(model.restarts() >= 5);
    assert_eq!(model.convert(&documents(&["f"])).expect("converted"), [message("f")]);
}

#[test]
fn a_document_that_takes_too_long_is_refused_and_the_others_go_on() {
    let mut setup = setup(1);
    setup.settings.timeout = Duration::from_secs(1);
    let mut model = DocumentModel::start(setup.settings).expect("it loads");
    let began = Instant::now();
    let converted = model.convert(&documents(&["a", "hang", "b"])).expect("converted");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!(refusal(&converted[1]), "The model's process died: The model took longer than 1 s");
    assert_eq!((&converted[0], &converted[2]), (&message("a"), &message("b")));
}

#[test]
fn a_lack_of_memory_and_endless_prints_cost_one_document_each() {
    let setup = setup(1);
    let mut model = DocumentModel::start(setup.settings).expect("it loads");
    let converted = model.convert(&documents(&["a", "memory", "b", "print", "c"])).expect("converted");
    assert_eq!(refusal(&converted[1]), "MemoryError");
    assert!(refusal(&converted[3]).starts_with("The model's process died: The model printed more than 10 MiB"));
    assert_eq!([&converted[0], &converted[2], &converted[4]], [&message("a"), &message("b"), &message("c")]);
}

#[test]
fn a_process_that_others_kill_between_two_batches_costs_nothing() {
    let setup = setup(1);
    let mut model = DocumentModel::start(setup.settings).expect("it loads");
    let converted = model.convert(&documents(&["pid"])).expect("converted");
    let Converted::Message(said) = &converted[0] else { panic!("no message: {converted:?}") };
    let pid: String = String::from_utf8_lossy(said).chars().filter(char::is_ascii_digit).collect();
    std::process::Command::new("kill").args(["-9", &pid]).status().expect("kill");
    let gone = PathBuf::from(format!("/proc/{pid}/fd/0"));
    while gone.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(model.convert(&documents(&["a"])).expect("converted"), [message("a")]);
    assert_eq!(model.restarts(), 1);
}

#[test]
fn a_class_that_cannot_be_loaded_is_said_at_once_with_the_reason() {
    for (class, reason) in [
        ("mine:Missing", "AttributeError: module 'mine' has no attribute 'Missing'"),
        ("nowhere:Model", "ModuleNotFoundError: No module named 'nowhere'"),
        ("os:getcwd", "TypeError: os:getcwd has no method from_document"),
    ] {
        let mut setup = setup(2);
        setup.settings.setup.class = class.to_owned();
        let error = DocumentModel::start(setup.settings).expect_err("it cannot be loaded");
        assert_eq!(error.kind(), Kind::Settings);
        assert_eq!(error.to_string(), format!("The model {class} cannot be loaded: {reason}"));
    }
}
