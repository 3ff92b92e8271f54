//! Whole files: written so that a crash leaves the old or the new one, and errors that name file and cure.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// What the operating system refused, on which file, and what to do about it.
#[derive(Clone, Debug, Error)]
#[error("cannot {operation} {}: {error}{}", .file.display(), cure(operation, .error.kind()))]
pub struct FileError {
    /// What was tried: `"read"`, `"write"`.
    pub operation: &'static str,
    /// The file or folder it was tried on.
    pub file: PathBuf,
    /// The answer of the operating system. Shared, so that a failed log can repeat it.
    pub error: Arc<io::Error>,
}

impl FileError {
    /// For `map_err`: wraps the system's answer to `operation` on `file`.
    pub fn of(operation: &'static str, file: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |error| Self { operation, file, error: Arc::new(error) }
    }
}

/// Replaces the file at `path` by `bytes`, or creates it.
///
/// The bytes go to a temporary file beside it (`.NAME.tmp`), which is flushed to the disk and then renamed over `path`;
/// at last the folder is flushed. A crash at any instant leaves the old file or the new one, whole. A temporary file
/// that a crash left behind is used again by the next call. Not for two writers of one path at the same time.
///
/// # Errors
/// [`FileError`]; the temporary file is removed and the old file is as it was. Only where the very last step fails, the
/// flush of the folder, is the new file in place already.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let Some(name) = path.file_name() else {
        return Err(FileError::of("write", path)(ErrorKind::InvalidFilename.into()));
    };
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".tmp");
    let temporary = path.with_file_name(hidden);

    let mut file = File::create(&temporary).map_err(FileError::of("write", path))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        // Whether this removal works or not, the first error is the one to report.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::of("write", path)(error));
    }
    flush_folder_of(path)
}

/// Writes `bytes` where a person asked for them: a plain file, old or new, is replaced as by [`replace`]; into anything
/// else, such as a pipe, a device or a link, they are written as they are, for a rename would put a file in its place.
///
/// # Errors
/// [`FileError`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => fs::write(path, bytes).map_err(FileError::of("write", path)),
        _ => replace(path, bytes),
    }
}

/// Refuses a path that no file can be written to, because a folder stands there or its own folder is none, and one whose file would
/// be lost, because it is one of `others`, which the same work reads or writes: before the work that the file is for is done.
///
/// # Errors
/// [`FileError`].
pub fn place<'a>(path: &Path, others: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), FileError> {
    let folder = folder_of(path);
    let refused = match fs::metadata(folder) {
        _ if path.is_dir() => ErrorKind::IsADirectory.into(),
        Ok(found) if !found.is_dir() => ErrorKind::NotADirectory.into(),
        Ok(_) if others.into_iter().any(|other| is_same_file(path, other)) => ErrorKind::ResourceBusy.into(),
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    Err(FileError::of("write", path)(refused))
}

/// Whether two paths lead to one plain file, which need not be there yet. A pipe, a terminal or a device loses nothing.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let is_plain = |path: &Path| fs::metadata(path).map_or(true, |found| found.is_file());
    let whole = |path: &Path| {
        let in_folder = || Some(folder_of(path).canonicalize().ok()?.join(path.file_name()?));
        path.canonicalize().ok().or_else(in_folder)
    };
    is_plain(one) && whole(one).is_some_and(|one| whole(other) == Some(one))
}

/// A 64-bit FNV-1a hash of pieces, one after another and told apart, in hexadecimal: enough to notice that something changed, not to keep
/// out an enemy.
pub fn fingerprint<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for piece in pieces {
        for &byte in piece.iter().chain(&[0xFF]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
    }
    format!("{hash:016x}")
}

/// Reads a whole file.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(FileError::of("read", path))
}

/// Makes a renamed file survive a power failure. Elsewhere than on Unix a folder cannot be opened, nor need it be.
fn flush_folder_of(path: &Path) -> Result<(), FileError> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = folder_of(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(FileError::of("flush", folder))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn cure(operation: &str, kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound if operation == "write" => "; its folder is missing or was removed: check the path",
        ErrorKind::NotFound => "; check the path",
        ErrorKind::PermissionDenied => "; change its permissions or choose another folder",
        ErrorKind::ReadOnlyFilesystem => "; choose a folder on a disk that can be written",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free some space and resume: what was there is intact",
        ErrorKind::FileTooLarge => "; raise the limit on the size of files (ulimit -f): what was there is intact",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "; a file is in the place of a folder: choose another path"
        }
        ErrorKind::IsADirectory => "; a folder is in the place of a file: choose another path",
        ErrorKind::ResourceBusy if operation == "write" => {
            "; the same command has another use for it: choose another path"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    fn names(folder: &Path) -> Vec<OsString> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_is_created_then_replaced_and_nothing_else_is_left() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("model");
        // What a crash left behind must not disturb.
        fs::write(folder.path().join(".model.tmp"), "half of someth").unwrap();
        replace(&path, b"first").unwrap();
        assert_eq!(read(&path).unwrap(), b"first");
        replace(&path, b"2").unwrap();
        assert_eq!(read(&path).unwrap(), b"2");
        assert_eq!(names(folder.path()), ["model"]);
    }

    #[test]
    fn a_path_without_a_place_is_refused_before_anything_is_written() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        place(&folder.path().join("new"), None).unwrap();
        place(&folder.path().join("file"), None).unwrap();
        place(Path::new("new"), None).unwrap();
        for (path, cure) in [("none/new", "check the path"), ("file/new", "choose another"), ("", "choose another")] {
            let error = place(&folder.path().join(path), None).unwrap_err().to_string();
            assert!(error.contains(cure), "{path}: {error}");
        }
        // Neither what is read nor what is written besides, by whatever path.
        let others = ["./file", "soon"].map(|name| folder.path().join(name));
        place(&folder.path().join("new"), &others).unwrap();
        for name in ["file", "soon", "./soon"] {
            let error = place(&folder.path().join(name), &others).unwrap_err().to_string();
            assert!(error.contains("another use for it: choose another path"), "{error}");
        }
        // What is no plain file takes all of it.
        let pipe = PathBuf::from("/dev/null");
        assert!(!pipe.exists() || place(&pipe, [&pipe]).is_ok());
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_written_through_and_a_folder_refused() {
        let folder = tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&file, b"first").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"2").unwrap();
        assert_eq!(read(&file).unwrap(), b"2");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let error = write(folder.path(), b"3").unwrap_err().to_string();
        assert!(error.contains("a folder is in the place of a file"), "{error}");
    }

    #[test]
    fn a_rename_that_fails_removes_the_temporary_file() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("model");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("a folder is in the place of a file"), "{error}");
        assert_eq!(names(folder.path()), ["model"]);
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_named_with_its_cure() {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file/model");
        let message = replace(&path, b"new").unwrap_err().to_string();
        assert!(message.contains("file/model") && message.contains("choose another path"), "{message}");
        let nameless = replace(Path::new("/"), b"new").unwrap_err();
        assert_eq!(nameless.error.kind(), ErrorKind::InvalidFilename);
    }

    /// The temporary file is led to the device on which every write finds the disk full.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_leaves_the_old_file_intact() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("model");
        replace(&path, b"old").unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join(".model.tmp")).unwrap();
        let message = replace(&path, &[7; 100_000]).unwrap_err().to_string();
        assert!(message.contains("free some space"), "{message}");
        assert_eq!(read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["model"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_without_write_permission_is_named_with_its_cure() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempdir().unwrap();
        let path = folder.path().join("model");
        replace(&path, b"old").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        // Root writes where it likes, so there is nothing to refuse.
        if File::create(folder.path().join("probe")).is_err() {
            let message = replace(&path, b"new").unwrap_err().to_string();
            assert!(message.contains("change its permissions"), "{message}");
            assert_eq!(read(&path).unwrap(), b"old");
        }
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
}
