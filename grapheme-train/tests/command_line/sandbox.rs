//! A folder with small data, and commands that run in it.

use grapheme_train::data::generate::{Notation, Overwrite, Pair, Plan, Task};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Settings with which an epoch of 10 steps takes a fraction of a second, and yet has lanes and dropout.
pub const SMALL: [&str; 9] = ["--data=data", "--preset", "tiny", "--width", "8", "--dropout", "0.1", "--lane", "4"];

/// All commands by name, and where they are.
pub const COMMANDS: [(&str, &str); 17] = [
    ("train", env!("CARGO_BIN_EXE_train")),
    ("infer", env!("CARGO_BIN_EXE_infer")),
    ("evaluate", env!("CARGO_BIN_EXE_evaluate")),
    ("generate", env!("CARGO_BIN_EXE_generate")),
    ("distill", env!("CARGO_BIN_EXE_distill")),
    ("test_gradient_check", env!("CARGO_BIN_EXE_test_gradient_check")),
    ("test_gradient_descent", env!("CARGO_BIN_EXE_test_gradient_descent")),
    ("train_with_threshold_tracking", env!("CARGO_BIN_EXE_train_with_threshold_tracking")),
    ("graph_distance", env!("CARGO_BIN_EXE_graph_distance")),
    ("train_spectral", env!("CARGO_BIN_EXE_train_spectral")),
    ("doctor", env!("CARGO_BIN_EXE_doctor")),
    ("dashboard", env!("CARGO_BIN_EXE_dashboard")),
    ("lens", env!("CARGO_BIN_EXE_lens")),
    ("compare_estimators", env!("CARGO_BIN_EXE_compare_estimators")),
    ("compare_optics", env!("CARGO_BIN_EXE_compare_optics")),
    ("benchmark_words", env!("CARGO_BIN_EXE_benchmark_words")),
    ("regression", env!("CARGO_BIN_EXE_regression")),
];

/// The settings of most runs here, and others.
pub fn two_epochs<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&SMALL, &["--epochs", "2", "--rate", "0.1"][..], args].concat()
}

/// Settings with which a predictor of fields is trained, scored and drawn in a fraction of a second.
pub const FIELDS: [&str; 9] = ["--size", "8", "--frames", "60", "--test", "8", "--rollout", "0", "--json"];

/// The three files of a run that must not depend on threads or interruptions.
const RESULTS: [&str; 3] = ["model.safetensors", "state.safetensors", "metrics.jsonl"];

/// A temporary folder that holds `data`: pairs like `abc` to `ab`.
pub struct Sandbox(TempDir);

impl Sandbox {
    pub fn new() -> Self {
        let sandbox = Self(tempfile::tempdir().unwrap());
        let tasks = vec![Task::Pair(Pair::DropLast, Notation::Plain)];
        let made = Plan { seed: 1, tasks, train: 320, dev: 20, test: 0 }.generate().unwrap();
        fs::create_dir(sandbox.path("data")).unwrap();
        made.write(&sandbox.path("data"), Overwrite::Refuse).unwrap();
        sandbox
    }

    /// A sandbox with a finished run in `run`, trained once for all tests. Not to be changed: see [`Sandbox::copy`].
    pub fn trained() -> &'static Self {
        static TRAINED: OnceLock<Sandbox> = OnceLock::new();
        TRAINED.get_or_init(|| {
            let sandbox = Self::new();
            sandbox.train(&["--out", "run"]).succeeds();
            sandbox
        })
    }

    /// The same data and the same run, to be spoilt.
    pub fn copy(&self) -> Self {
        let copy = Self(tempfile::tempdir().unwrap());
        for folder in ["data", "run"] {
            fs::create_dir(copy.path(folder)).unwrap();
            for (name, bytes) in self.files(folder) {
                fs::write(copy.path(folder).join(name), bytes).unwrap();
            }
        }
        copy
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// All files of a folder by name.
    pub fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path(folder)).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    }

    /// Fails unless two runs have the same bytes.
    pub fn same_results(&self, expected: &str, found: &str) {
        self.same_files(&RESULTS, expected, found);
    }

    /// The same for runs of `train_spectral`, whose last state is from before the end.
    pub fn same_fields(&self, expected: &str, found: &str) {
        let results = ["model.safetensors", "metrics.jsonl", "events.json", "moments.png", "animation.png"];
        self.same_files(&results, expected, found);
    }

    fn same_files(&self, names: &[&str], expected: &str, found: &str) {
        for name in names {
            let read = |run: &str| fs::read(self.path(run).join(name)).unwrap();
            assert!(read(expected) == read(found), "{found}/{name} differs from that of {expected}");
        }
    }

    pub fn command(&self, name: &str, args: &[impl AsRef<OsStr>]) -> Command {
        let known = COMMANDS.iter().find(|(known, _)| *known == name);
        let (_, program) = known.unwrap_or_else(|| panic!("there is no command {name}"));
        let mut command = Command::new(program);
        command.args(args).current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    pub fn run(&self, name: &str, args: &[&str]) -> Said {
        Said::of(&format!("{name} {}", args.join(" ")), self.command(name, args).output().unwrap())
    }

    /// `train` with the settings of [`two_epochs`] and others.
    pub fn train(&self, args: &[&str]) -> Said {
        self.run("train", &two_epochs(args))
    }

    pub fn resume(&self, run: &str) -> Said {
        self.run("train", &["--resume", "--out", run])
    }

    /// `infer` on standard input.
    pub fn infer(&self, args: &[&str], input: &[u8]) -> Said {
        let mut command = self.command("infer", &[&["--run", "run"], args].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        // It may refuse the rest of its input.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Said::of("infer", output)
    }

    /// Starts `dashboard --serve`, and gives the address and port that it serves. Whoever asked for it kills it.
    pub fn serve(&self, run: &str) -> (Child, String) {
        let mut command = self.command("dashboard", &[run, "--serve", "--port", "0"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
        (child, address.to_owned())
    }

    /// Starts a command, waits until `ready` or its end, and kills it there.
    pub fn kill_when(&self, name: &str, args: &[&str], ready: impl Fn(&Self) -> bool) {
        let mut command = self.command(name, args);
        let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Instant::now();
        while !ready(self) && child.try_wait().unwrap().is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "{args:?}: what was waited for never came");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Trains in `run` and kills it within the first epoch: there is a state, and no model yet.
    pub fn kill_in_first_epoch(&self, run: &str) {
        let exists = |name: &str| self.path(run).join(name).exists();
        // A busy machine may look too late.
        for _ in 0..20 {
            let _ = fs::remove_dir_all(self.path(run));
            let args = two_epochs(&["--out", run, "--checkpoint-seconds", "0"]);
            self.kill_when("train", &args, |_| exists("state.safetensors"));
            if exists("state.safetensors") && !exists("model.safetensors") {
                return;
            }
        }
        panic!("{run} was never killed in its first epoch");
    }
}

/// What a command said, and how it ended.
pub struct Said {
    command: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn of(command: &str, output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let said = Self {
            command: command.to_owned(),
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!said.stderr.contains("panicked"), "{command}: {}", said.stderr);
        assert!(said.code.is_some(), "{command}: ended by a signal: {}", said.stderr);
        let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
        assert!(said.stderr.chars().all(is_plain), "{command}: control characters in a pipe: {:?}", said.stderr);
        // An answer may hold whatever was asked; nothing asks for these.
        assert!(!said.stdout.contains(['\u{1b}', '\r', '\u{8}']), "{command}: control characters: {:?}", said.stdout);
        said
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{}: {}", self.command, self.stderr);
        self
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}: {}", self.command, self.stderr);
        self
    }

    /// Fails, and all of `words` are in the message.
    #[track_caller]
    pub fn fails_with(self, words: &[&str]) -> Self {
        assert_ne!(self.code, Some(0), "{} was let through: {}", self.command, self.stdout);
        self.tells(words)
    }

    #[track_caller]
    pub fn tells(self, words: &[&str]) -> Self {
        let lacks = self.lacks(words);
        assert!(lacks.is_empty(), "{}: {lacks:?} not in: {}", self.command, self.stderr);
        self
    }

    /// Which of `words` are not in the message.
    pub fn lacks<'a>(&self, words: &[&'a str]) -> Vec<&'a str> {
        // Long messages of the parser of arguments are wrapped.
        let message = self.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().copied().filter(|word| !message.contains(word)).collect()
    }
}

/// The number of whole lines of a file; none if it is not there.
pub fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}
