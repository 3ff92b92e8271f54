//! Wrong uses of every command, in one table: each ends with an exit code that is not 0 and a message that says what happened, where,
//! and what to do; standard output stays empty and nothing is written. That none panics or dies of a signal is checked wherever a
//! command is run.

use crate::sandbox::{COMMANDS, Sandbox};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A command with its options, parted by spaces; what happened; where; what to do. The last three are pieces of the message.
type Case = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Files that are not there, or are something else.
    ("train --train none.tsv --dev good.tsv", "no such file", "none.tsv", "check the path"),
    ("train --data none", "no such file", "none", "check the path"),
    ("train --data good.tsv", "is no folder", "good.tsv", "--train and --dev"),
    ("train --data run", "holds neither train.tsv nor train.jsonl", "run", "add one of them"),
    ("train --train data --dev good.tsv", "is a folder", "data", "name the file in it"),
    ("train --data data --out good.tsv/run", "in the place of a folder", "good.tsv/run", "choose another path"),
    ("train --data data --out good.tsv", "in the place of a folder", "good.tsv", "choose another path"),
    ("train --data data --out run", "already holds a run", "run", "--resume to continue it, --overwrite to replace it"),
    ("train --resume --out none", "holds no run", "none", "check the path"),
    ("train --resume --out field", "a run of train_spectral", "field", "name a run of train"),
    ("train --data data --optics none.json", "cannot read", "none.json", "check the path"),
    ("train", "no such file", "data/generated", "is made by `"),
    ("infer --run none a", "holds no run", "none", "check the path"),
    ("infer --run data a", "holds no run", "data", "check the path"),
    ("infer --run good.tsv a", "in the place of a folder", "good.tsv", "choose another path"),
    ("infer --run field a", "a run of train_spectral", "field", "name a run of train"),
    ("infer --run bare a", "missing: not trained yet", "bare/model.safetensors", "--resume"),
    ("infer --run run --explain-svg none/why.svg a", "cannot write", "none/why.svg", "check the path"),
    ("infer --run run --explain-svg data a", "in the place of a file", "data", "choose another path"),
    ("evaluate --run none --data good.tsv", "holds no run", "none", "check the path"),
    ("evaluate --run bare --data good.tsv", "missing: not trained yet", "bare/model.safetensors", "--resume"),
    ("evaluate --run run --data none.tsv", "no such file", "none.tsv", "check the path"),
    ("evaluate --run run --data data", "is a folder", "data", "name the file in it"),
    ("evaluate --run run --data good.tsv --predictions none/p.tsv", "cannot write", "none/p.tsv", "check the path"),
    ("evaluate --run run --data good.tsv --predictions good.tsv/p", "cannot write", "good.tsv/p", "choose another path"),
    ("evaluate --run run --data good.tsv --report data", "in the place of a file", "data", "choose another path"),
    ("evaluate --run run --data good.tsv --predictions ./good.tsv", "another use for it", "good.tsv", "choose another path"),
    ("evaluate --run run --data good.tsv --predictions new --report new", "another use for it", "new", "choose another path"),
    ("generate --out good.tsv", "in the place of a folder", "good.tsv", "choose another path"),
    ("generate --out data", "exists with other content", "data/train.jsonl", "--force"),
    ("distill --teacher none --train good.tsv --out new.tsv", "holds no run", "none", "check the path"),
    ("distill --teacher run --train none.tsv --out new.tsv", "no such file", "none.tsv", "check the path"),
    ("distill --teacher run --train good.tsv --out none/new.tsv", "cannot write", "none/new.tsv", "check the path"),
    ("distill --teacher run --train good.tsv --out data", "in the place of a file", "data", "choose another path"),
    ("distill --teacher run --train good.tsv --out data/../good.tsv", "another use for it", "good.tsv", "choose another path"),
    ("train_with_threshold_tracking --out good.tsv", "in the place of a folder", "good.tsv", "choose another path"),
    ("graph_distance fine.json none.json", "cannot read", "none.json", "check the path"),
    ("graph_distance fine.json data", "in the place of a file", "data", "name one graph in it"),
    ("graph_distance --pairs none.jsonl", "cannot read", "none.jsonl", "check the path"),
    ("graph_distance fine.json fine.json --picture none/x.svg", "cannot write", "none/x.svg", "check the path"),
    ("graph_distance fine.json fine.json --picture fine.json", "another use for it", "fine.json", "choose another path"),
    ("dashboard run --out run/metrics.jsonl", "another use for it", "run/metrics.jsonl", "choose another path"),
    ("train_spectral --out good.tsv", "in the place of a folder", "good.tsv", "choose another path"),
    ("train_spectral --out run", "already holds a run", "run", "--resume to continue it, --overwrite to replace it"),
    ("train_spectral --resume --out none", "holds no run", "none", "check the path"),
    ("train_spectral --resume --out run", "a run of train, which", "run", "name a run of train_spectral"),
    ("train_spectral --run run", "a run of train, which", "run", "name a run of train_spectral"),
    ("train_spectral --run none", "holds no run", "none", "check the path"),
    ("doctor none", "holds no run", "none", "check the path"),
    ("doctor data", "holds no run", "data", "check the path"),
    ("doctor field", "a run of train_spectral", "field", "name a run of train"),
    ("doctor run", "no telemetry", "run/metrics.jsonl", "train again with --optics"),
    ("dashboard none", "holds no run", "none", "check the path"),
    ("dashboard run --beside none", "holds no run", "none", "check the path"),
    ("dashboard run --beside field", "can only stand beside another", "--beside", "a predictor of wave fields"),
    ("dashboard run --example nothing", "is no input of", "data/dev.jsonl", "give one that stands in it"),
    ("dashboard run --out none/page.html", "cannot write", "none/page.html", "check the path"),
    ("dashboard run --out data", "in the place of a file", "data", "choose another path"),
    ("lens --out good.tsv", "in the place of a folder", "good.tsv", "choose another path"),
    ("compare_estimators --quick --out good.tsv", "in the place of a folder", "good.tsv", "choose another path"),
    ("compare_estimators --curriculum none --out new", "no such file", "none/train.jsonl", "check the path"),
    ("compare_estimators --curriculum data --words none --out new", "no such file", "none/hun_train.tsv", "check the path"),
    ("compare_optics --data none", "no such file", "none", "check the path"),
    ("compare_optics --show none.json", "cannot read", "none.json", "check the path"),
    ("compare_optics --data data --picture none/x.svg", "cannot write", "none/x.svg", "check the path"),
    ("benchmark_words --data none", "cannot read", "none", "check the path"),
    ("benchmark_words --data data", "no LANG_train.tsv", "data", "check --data"),
    ("benchmark_words --data lists --out good.tsv", "in the place of a folder", "good.tsv", "choose another path"),
    ("benchmark_words --data lists --languages xxx --out new", "no xxx_train.tsv", "lists", "there are aaa"),
    ("benchmark_words --data lists --against none.json --out new", "cannot read", "none.json", "check the path"),
    ("regression --baseline none.json", "no usable baseline", "none.json", "--update"),

    // Files that hold what they should not.
    ("train --train empty.tsv --dev good.tsv", "empty file", "empty.tsv", "give it at least one line"),
    ("train --train good.tsv --dev empty.jsonl", "empty file", "empty.jsonl", "give it at least one line"),
    ("train --train column.tsv --dev good.tsv", "one column", "column.tsv:2", "put a tab between"),
    ("train --train good.tsv --dev columns.tsv", "3 columns", "columns.tsv:2", "keep `input<TAB>target`"),
    ("train --train blank.tsv --dev good.tsv", "blank line", "blank.tsv:2", "remove it"),
    ("train --train utf8.tsv --dev good.tsv", "byte 2 is 0xFF", "utf8.tsv:2", "save the file as UTF-8"),
    ("train --train good.tsv --dev utf16.tsv", "byte 1 is 0xFF", "utf16.tsv:1", "save the file as UTF-8"),
    ("train --train long.tsv --dev good.tsv", "1000002 bytes on one line", "long.tsv:2", "split the text"),
    ("train --train vast.tsv --dev good.tsv", "aligning 20002 code points with 20000 units", "vast.tsv:2", "--window"),
    ("train --train cut.jsonl --dev good.tsv", "malformed JSON at column 5", "cut.jsonl:2", "--skip-bad"),
    ("train --train good.tsv --dev key.jsonl", "key \"target\" is missing", "key.jsonl:1", "add it"),
    ("train --train list.jsonl --dev good.tsv", "found a list", "list.jsonl:1", "write {\"input\": ..."),
    ("train --train type.jsonl --dev good.tsv", "key \"target\" holds a number", "type.jsonl:1", "Correct the line"),
    ("train --train token.tsv --dev good.tsv --units tokens", "token 2 of the target is empty", "token.tsv:2", "Correct the line"),
    ("train --train all.tsv --dev good.tsv --skip-bad", "no example left; 12 bad lines skipped", "all.tsv:1: one column", "put a tab between"),
    ("train --train far.tsv --dev good.tsv --slots 2", "none of the 1 training", "at most 2 units", "raise --slots"),
    ("train --train far8.tsv --dev good.tsv", "none of the 1 training", "at most 8 units", "the columns are in the order"),
    ("evaluate --run run --data column.tsv", "one column", "column.tsv:2", "put a tab between"),
    ("evaluate --run run --data empty.tsv", "empty file", "empty.tsv", "give it at least one line"),
    ("distill --teacher run --train column.tsv --out new.tsv", "one column", "column.tsv:2", "put a tab between"),
    ("train --data data --optics cut.json", "EOF", "cut.json", "media are written like"),
    ("train --data data --optics {\"layers\":1}", "expected a sequence at line 1 column 11", "--optics", "media are written like"),
    ("train --data data --optics misspelt.json", "unknown field `layres`", "at line 2", "expected one of `layers`"),
    ("train --data data --optics index.json", "found 0.5", "index.json:3: optics setting `indices[0].index`", "at least 1"),
    ("train --data data --optics {\"layers\":[{\"transparency\":1.5}]}", "found 1.5", "layers[0].transparency", "from 0 to 1"),
    ("train --data data --optics {\"layers\":[{\"boundaries\":[0,40]}]}", "found", "layers[0].boundaries", "the smaller first"),
    ("train --data data --optics {\"indices\":[{\"layers\":[3,99],\"index\":2}]} --dry-run", "found", "indices[0].layers", "from 0 to"),
    ("graph_distance fine.json loop.json", "a loop at node 0", "loop.json: edges[0]", "leave it out"),
    ("graph_distance fine.json cut.dot", "the end found", "cut.dot: line 2", "a node expected"),
    ("graph_distance fine.json fine.png", "not a .json, .dot, .gv or .txt", "fine.png", "rename it"),
    ("graph_distance fine.json cut.json", "EOF", "cut.json", "a graph like {\"labels\""),
    ("graph_distance --pairs blank.jsonl", "no pairs", "blank.jsonl", "give a file with one a line"),
    ("graph_distance --pairs pairs.jsonl", "not a pair", "pairs.jsonl: line 2", "a pair like {\"a\""),
    ("graph_distance big.json fine.json --method exact", "holds 64", "a graph has 65 nodes", "use the method sinkhorn"),
    ("doctor damaged", "unknown variant `no such`", "damaged/metrics.jsonl, line 1, column 18", "delete the line"),
    ("dashboard damaged", "unknown variant `no such`", "damaged/metrics.jsonl, line 1, column 18", "delete the line"),
    ("compare_optics --show cut.json", "not what compare_optics prints", "cut.json", "with --json"),
    ("benchmark_words --data lists --against fine.json --out new", "no results.json", "fine.json", "of this command"),
    ("regression --baseline misspelt.json", "no usable baseline", "misspelt.json", "--update"),

    // Numbers out of their range, and words that are none.
    ("train --data data --epochs 0", "0 is not in", "--epochs", "1.."),
    ("train --data data --epochs ten", "invalid value 'ten'", "--epochs", "--help"),
    ("train --data data --slots 0", "0 is not in", "--slots", "1..=256"),
    ("train --data data --members 0", "0 is not in", "--members", "1..=64"),
    ("train --data data --watch 1001", "1001 is not in", "--watch", "0..=1000"),
    ("train --data data --threads 100000", "100000 is not in", "--threads", "0..=1024"),
    ("train --data data --window -1", "invalid value '-1'", "--window", "--help"),
    ("train --data data --minutes -1", "= -1", "minutes", "a positive number"),
    ("train --data data --minutes nan", "= NaN", "minutes", "a positive number"),
    ("train --data data --rate nan", "= NaN", "--rate", "a positive number"),
    ("train --data data --clip 0", "= 0", "clip", "a positive number"),
    ("train --data data --average 1", "= 1", "average", "at least 0 and below 1"),
    ("train --data data --dropout 1.5", "1.5 is out of range", "`dropout`", "at least 0 and below 1"),
    ("train --data data --width 0", "0 is out of range", "`width`", "at least 1"),
    ("train --data data --width 1000000000000", "out of range", "`width`", "not absurdly large"),
    ("train --data data --width 16384", "out of range", "number of parameters", "lower width"),
    ("train --data data --preset huge", "invalid value 'huge'", "--preset", "possible values: words"),
    ("train --data data --epoch 3", "unexpected argument '--epoch'", "--epoch", "similar argument exists: '--epochs'"),
    ("train --data data extra", "unexpected argument", "'extra'", "--help"),
    ("infer --run run --nbest 0 a", "0 is not in", "--nbest", "1..=1000"),
    ("infer --rnu run a", "unexpected argument", "'--rnu'", "--run <RUN>"),
    ("generate curriculum --levels 8 --out new", "\"8\" is not a level", "--levels", "levels are 1 to 7"),
    ("generate curriculum --levels 3-1 --out new", "runs backwards", "--levels", "write the smaller level first"),
    ("generate pairs --task reversed --out new", "invalid value 'reversed'", "--task", "similar value exists: 'reverse'"),
    ("distill --teacher run --train good.tsv --out new.tsv --share -1", "-1", "--share", "from 0 to 1000"),
    ("distill --teacher run --train good.tsv --out new.tsv --confidence 1.5", "1.5", "--confidence", "from 0 to 1"),
    ("test_gradient_check --filter no-such-layer", "no combination", "no-such-layer", "names look like"),
    ("test_gradient_check --tolerance -1", "-1", "--tolerance", "a positive number"),
    ("test_gradient_check --threads 1000000", "1000000 is not in", "--threads", "0..=1024"),
    ("test_gradient_descent --seeds 0", "= 0", "seeds", "at least 1"),
    ("test_gradient_descent --rate -1", "= -1", "rate", "a positive number"),
    ("test_gradient_descent --epochs 5 --long-epochs 1", "= 1", "long_epochs", "at least as many as epochs"),
    ("train_with_threshold_tracking --rate -1", "-1", "--rate", "a positive number"),
    ("train_with_threshold_tracking --estimator best", "invalid value 'best'", "--estimator", "possible values: marginal"),
    ("graph_distance --generate planted --nodes 1", "1 is not in", "--nodes", "2..=8000"),
    ("graph_distance --generate rings", "invalid value 'rings'", "--generate", "possible values: sparse"),
    ("train_spectral --rate nan --out new", "NaN", "--rate", "above 0 and at most 1"),
    ("train_spectral --pattern obstacle --size 4 --out new", "[4, 4]", "a grid of", "at least 8 x 8 are needed"),
    ("train_spectral --size 512 --frames 100000 --out new", "more than 4 GB", "--size 512", "lower --size, --frames or --test"),
    ("train_spectral --pattern cat --out new", "invalid value 'cat'", "--pattern", "double_slit"),
    ("train_spectral --frames 10 --out new", "10 is not in", "--frames", "40..=100000"),
    ("train_spectral --protocol latents --seeds 1", "two predictors", "--seeds", "at least are needed"),
    ("dashboard run --serve --address nowhere", "invalid value 'nowhere'", "--address", "--help"),
    ("lens --path-step -1", "-1", "--path-step", "from 0.00001 to 0.2"),
    ("compare_estimators --calls 1 --out new", "1 is not in", "--calls", "2.."),
    ("compare_optics --data data --only nobody", "no way of training", "--only nobody", "there are sgd"),
    ("compare_optics --data data --width 0", "0 is out of range", "`width`", "at least 1"),
    ("benchmark_words --data lists --rate 0 --out new", "= 0", "--rate", "a positive number"),
    ("regression --threads 2000", "2000 is not in", "--threads", "0..=1024"),

    // What does not go together, or is missing.
    ("train --train good.tsv", "not provided", "--dev <DEV>", "--help"),
    ("train --data data --train good.tsv --dev good.tsv", "cannot be used with", "--data", "--help"),
    ("train --data data --overwrite", "not provided", "--out <OUT>", "--help"),
    ("train --resume", "not provided", "--out <OUT>", "--help"),
    ("train --data data --out new --resume --overwrite", "cannot be used with", "--resume", "--help"),
    ("train --data data --loss graph --estimator marginal", "no sum over all choices", "`marginal`", "--estimator pathwise"),
    ("train --data data --optics {} --estimator reinforce", "do not go with", "--optics", "use marginal or pathwise"),
    ("infer a", "not provided", "--run <RUN>", "--help"),
    ("infer --run run --explain-svg new.svg", "not provided", "<TEXTS>", "--help"),
    ("evaluate --run run", "not provided", "--data <DATA>", "--help"),
    ("generate curriculum", "not provided", "--out <OUT>", "--help"),
    ("train_with_threshold_tracking --loss graph --estimator marginal", "no sum over all choices", "`marginal`", "--loss words"),
    ("graph_distance", "not provided", "<A>", "--help"),
    ("graph_distance fine.json", "not provided", "<B>", "--help"),
    ("graph_distance fine.json fine.json --truth", "cannot be used with", "--truth", "--help"),
    ("graph_distance --pairs pairs.jsonl --generate text", "cannot be used with", "--generate", "--help"),
    ("train_spectral --seeds 1,2 --out new", "not provided", "--protocol", "--help"),
    ("train_spectral --run field --frames 50", "cannot be used with", "--frames", "--help"),
    ("doctor", "not provided", "<RUN>", "--help"),
    ("dashboard run --serve --out new.html", "cannot be used with", "--out", "--help"),
    ("compare_optics --train good.tsv", "not provided", "--dev <DEV>", "--help"),
    ("compare_optics --data data --zspace 2 --picture new.svg", "cannot be used with", "--picture", "--help"),
    ("benchmark_words", "not provided", "--data <DATA>", "--help"),
];

/// A folder with good and bad files of every kind, and with runs.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::trained().copy();
    const GOOD: &str = "abc\tab\nxyz\txy\n";
    let far8 = ["\t", &"b".repeat(99), "\n"].concat();
    let long = ["abc\tab\n", &"x".repeat(1_000_000), "\ty\n"].concat();
    let vast = ["abc\tab\n", &"x".repeat(20_000), "\t", &"y".repeat(20_000), "\n"].concat();
    let big = format!(r#"{{"labels":[{}"C"],"edges":[]}}"#, r#""C","#.repeat(64));
    let files: [(&str, &[u8]); 30] = [
        ("good.tsv", GOOD.as_bytes()),
        ("empty.tsv", b""),
        ("empty.jsonl", b""),
        ("column.tsv", b"abc\tab\nxyz\n"),
        ("columns.tsv", b"abc\tab\nx\ty\tz\n"),
        ("blank.tsv", b"abc\tab\n\nx\ty\n"),
        ("utf8.tsv", b"abc\tab\nx\xFFy\tz\n"),
        ("utf16.tsv", b"\xFF\xFEa\0\t\0b\0\n\0"),
        ("long.tsv", long.as_bytes()),
        ("vast.tsv", vast.as_bytes()),
        ("cut.jsonl", b"{\"input\":\"a\",\"target\":\"b\"}\n{\"inp"),
        ("key.jsonl", b"{\"input\":\"a\"}\n"),
        ("list.jsonl", b"[1]\n"),
        ("type.jsonl", b"{\"input\":\"a\",\"target\":7}\n"),
        ("token.tsv", b"a\tx y\nb\tx  y\n"),
        (
            "all.tsv",
            b"no tab\nno tab\nno tab\nno tab\nno tab\nno tab\nno tab\nno tab\nno tab\nno tab\nno tab\nno tab\n",
        ),
        ("far.tsv", b"a\tbbbbbbbbbb\n"),
        ("far8.tsv", far8.as_bytes()),
        ("cut.json", b"{"),
        ("misspelt.json", b"{\n\"layres\": []}"),
        ("index.json", b"{\"indices\": [\n{\"layers\": [0, 1],\n\"index\": 0.5}]}"),
        ("fine.json", br#"{"labels":["C"],"edges":[]}"#),
        ("loop.json", br#"{"labels":["C"],"edges":[[0,0]]}"#),
        ("big.json", big.as_bytes()),
        ("cut.dot", b"graph {\n a -- "),
        ("fine.png", b""),
        ("blank.jsonl", b"\n"),
        ("pairs.jsonl", b"{\"a\":{\"labels\":[],\"edges\":[]},\"b\":{\"labels\":[],\"edges\":[]}}\n{\"a\":1}\n"),
        ("lists/aaa_train.tsv", GOOD.as_bytes()),
        ("lists/aaa_dev.tsv", GOOD.as_bytes()),
    ];
    ["lists", "bare", "damaged"].iter().for_each(|name| fs::create_dir(sandbox.path(name)).unwrap());
    files.iter().for_each(|(name, bytes)| sandbox.write(name, bytes));
    for (name, bytes) in sandbox.files("run") {
        if name != "model.safetensors" {
            sandbox.write(&format!("bare/{name}"), &bytes);
        }
        let bytes = if name == "metrics.jsonl" { b"{\"event\":\"no such\"}\n".to_vec() } else { bytes };
        sandbox.write(&format!("damaged/{name}"), &bytes);
    }
    let field = "--size 12 --frames 40 --test 1 --rollout 0 --passes 0 --out field";
    sandbox.run("train_spectral", &field.split(' ').collect::<Vec<_>>()).succeeds();
    sandbox
}

/// Every file below a folder, and every folder as an empty one.
fn snapshot(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(snapshot(&path));
            all.insert(path.display().to_string(), Vec::new());
        } else {
            all.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn every_wrong_use_is_told_with_what_where_and_cure_and_leaves_nothing() {
    let sandbox = sandbox();
    let before = snapshot(&sandbox.path(""));
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let work = || {
        while let Some(&(line, what, place, cure)) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
            let words: Vec<&str> = line.split(' ').collect();
            let said = sandbox.run(words[0], &words[1..]);
            let lacks = said.lacks(&[what, place, cure]);
            if said.code == Some(0) || !said.stdout.is_empty() || !lacks.is_empty() {
                let fault = format!("{line}\n  lacks {lacks:?} in: {}  and answers {:?}", said.stderr, said.stdout);
                faults.lock().unwrap().push(fault);
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{} wrong uses are told wrongly:\n{}", faults.len(), faults.join("\n"));
    let after = snapshot(&sandbox.path(""));
    let changed: Vec<_> =
        after.iter().filter(|(name, bytes)| before.get(*name) != Some(bytes)).map(|(name, _)| name).collect();
    assert!(changed.is_empty() && after.len() == before.len(), "written or lost: {changed:?}");
    for (name, _) in COMMANDS {
        assert!(CASES.iter().any(|(line, ..)| line.split(' ').next() == Some(name)), "{name} has no wrong use");
    }
}
