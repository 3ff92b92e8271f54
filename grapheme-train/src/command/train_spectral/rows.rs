//! The rows of a comparison, one a pattern: worked out side by side, and kept in a file as they come.

use crate::file;
use crate::lanes::Lanes;
use crate::output::tell;
use crate::progress::Progress;
use crate::run::MetricsLog;
use anyhow::{Context, Result, ensure};
use grapheme_optics::spectral::Pattern;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;
use std::sync::Mutex;

/// What one pattern showed.
pub trait Row: Serialize + DeserializeOwned + Send {
    /// The pattern.
    fn pattern(&self) -> Pattern;
}

/// The row of every pattern, by `make`, which counts `parts` of its work, the same number for each.
///
/// With `keep`, rows are written to that file as they come, each on a line of JSON behind a first line that tells the settings; those
/// that are there already are not made again. What was half written when the process was killed is cut off.
///
/// # Errors
/// Those of `make`; a file of other settings, or with a line that is not of this comparison; what the operating system refuses.
pub fn rows<R: Row>(
    keep: Option<&Path>,
    settings: &Value,
    parts: u64,
    make: impl Fn(Pattern, &Progress) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (log, mut rows) = match keep {
        Some(path) => {
            let (log, rows) = open(path, settings)?;
            (Some(Mutex::new(log)), rows)
        }
        None => (None, Vec::new()),
    };
    let is_missing = |pattern: &Pattern| rows.iter().all(|row: &R| row.pattern() != *pattern);
    let missing: Vec<Pattern> = Pattern::ALL.into_iter().filter(is_missing).collect();
    if !rows.is_empty() {
        tell(&format!("{} of {} patterns were kept", rows.len(), Pattern::ALL.len()));
    }
    let progress = Progress::new(parts * missing.len() as u64, "parts");
    rows.extend(Lanes::<()>::new(0)?.map(&missing, |_, &pattern| -> Result<R> {
        let row = make(pattern, &progress)?;
        if let Some(log) = &log {
            let mut log = log.lock().expect("nothing panics while it is held");
            log.append(&row);
            log.commit()?;
        }
        Ok(row)
    })?);
    rows.sort_by_key(Row::pattern);
    Ok(rows)
}

fn open<R: Row>(path: &Path, settings: &Value) -> Result<(MetricsLog, Vec<R>)> {
    let text = if path.exists() { file::read(path)? } else { Vec::new() };
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let mut lines = text[..whole].split_inclusive(|&byte| byte == b'\n');
    let name = path.display();
    let first = lines.next();
    // The first line may be half written, but a file that is something else must not be cut off.
    let is_ours = match first {
        Some(line) => serde_json::from_slice::<Value>(line).is_ok_and(|found| found == *settings),
        None => serde_json::to_vec(settings)?.starts_with(&text),
    };
    ensure!(
        is_ours,
        "{name}, line 1: not the settings that are asked for, {settings}; ask for those of the file, or for another file"
    );
    let rows = lines.enumerate().map(|(i, line)| {
        let row = serde_json::from_slice(line);
        row.with_context(|| format!("{name}, line {}: no row of this comparison; delete the line", i + 2))
    });
    let rows = rows.collect::<Result<Vec<R>>>()?;
    for (i, row) in rows.iter().enumerate() {
        let is_new = rows[..i].iter().all(|other| other.pattern() != row.pattern());
        ensure!(is_new, "{name}, line {}: {} has a line already; delete one", i + 2, row.pattern().name());
    }
    let mut log = MetricsLog::open(path, whole as u64)?;
    if first.is_none() {
        log.append(settings);
        log.commit()?;
    }
    Ok((log, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::train_spectral::damage;
    use serde::Deserialize;
    use serde_json::json;
    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Name {
        pattern: Pattern,
        name: String,
    }

    impl Row for Name {
        fn pattern(&self) -> Pattern {
            self.pattern
        }
    }

    #[test]
    fn what_was_kept_is_not_made_again_and_what_does_not_belong_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let (settings, made) = (json!({ "size": 8 }), AtomicUsize::new(0));
        let named = |pattern: Pattern, _: &Progress| {
            made.fetch_add(1, Ordering::Relaxed);
            Ok(Name { pattern, name: pattern.name().to_owned() })
        };
        let halfway = |pattern: Pattern, progress: &Progress| {
            ensure!(pattern != Pattern::Concentric, "killed");
            named(pattern, progress)
        };
        assert!(rows(Some(&path), &settings, 1, halfway).is_err());
        // Killed in the midst of the last line.
        let text = fs::read(&path).unwrap();
        fs::write(&path, &text[..text.len() - 3]).unwrap();
        let before = made.swap(0, Ordering::Relaxed);
        let resumed = rows(Some(&path), &settings, 1, named).unwrap();
        assert_eq!((before, made.swap(0, Ordering::Relaxed)), (10, 2));
        assert_eq!(resumed, rows(None, &settings, 1, named).unwrap());
        assert_eq!(resumed, rows(Some(&path), &settings, 1, |_, _| anyhow::bail!("all is there")).unwrap());

        let kept = fs::read_to_string(&path).unwrap();
        assert_eq!(kept.lines().count(), 12);
        let refused = rows(Some(&path), &json!({ "size": 9 }), 1, named).unwrap_err().to_string();
        assert!(refused.contains("line 1") && refused.contains("\"size\":9"), "{refused}");
        fs::write(&path, kept.replacen("\"name\"", "\"game\"", 3)).unwrap();
        let refused = rows(Some(&path), &settings, 1, named).unwrap_err().to_string();
        assert!(refused.contains("line 2"), "{refused}");

        let twice = kept.clone() + kept.lines().nth(5).unwrap() + "\n";
        fs::write(&path, twice).unwrap();
        let refused = rows(Some(&path), &settings, 1, named).unwrap_err().to_string();
        assert!(refused.contains("line 13") && refused.contains("already"), "{refused}");

        // A first line that was half written is ours; a line without an end that says something else is not, and stays.
        for (text, is_ours) in [("{\"si", true), ("to be kept", false), ("", true)] {
            fs::write(&path, text).unwrap();
            assert_eq!(rows(Some(&path), &settings, 1, named).is_ok(), is_ours, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap() == text, !is_ours, "{text}");
        }
    }

    #[test]
    fn mutants_are_refused_by_line_or_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let settings = json!({ "size": 8, "rate": 0.003 });
        let named = |pattern: Pattern, _: &Progress| Ok(Name { pattern, name: pattern.name().to_owned() });
        rows(Some(&path), &settings, 1, named).unwrap();
        let whole = fs::read(&path).unwrap();
        let (each, mut refused) = (damage::count(300), 0);
        for seed in 0..each {
            fs::write(&path, damage::mutant(&whole, &(0..whole.len()), seed)).unwrap();
            let clock = Instant::now();
            match rows::<Name>(Some(&path), &settings, 1, |_, _| anyhow::bail!("a row is missing")) {
                Err(error) if error.to_string() != "a row is missing" => {
                    let message = format!("{error:#}");
                    assert!(message.contains("rows.jsonl, line ") && message.len() < 2000, "mutant {seed}: {message}");
                    refused += 1;
                }
                _ => {}
            }
            assert!(clock.elapsed() < Duration::from_secs(5), "mutant {seed} takes {:?}", clock.elapsed());
        }
        println!("rows.jsonl: {refused} of {each} mutants refused");
        assert!(refused > each / 4, "{refused}");
    }
}
