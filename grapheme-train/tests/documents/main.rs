//! What the documents say of the code is so: they would drift apart otherwise.

mod commands;
mod shell;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The Rust files below `folder`, as paths from there, with slashes.
fn rust_files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        // A crate need not have tests or benches.
        for entry in fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let parts: Vec<_> =
                    path.strip_prefix(folder).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
                files.push(parts.join("/"));
            }
        }
    }
    files.sort();
    files
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_map_of_the_code_names_every_file_and_no_other() {
    let map = read("ARCHITECTURE.md");
    for name in ["grapheme-core", "grapheme-optics", "grapheme-train", "grapheme-bench"] {
        let section = map.split("\n## ").find(|section| section.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        let named = quoted(section);
        let folder = root().join(name);
        let mut expected: Vec<String> = rust_files(&folder.join("src"));
        // A binary that only calls its module in `command/` stands under that name.
        let commands: Vec<String> = expected.iter().filter(|file| file.starts_with("command/")).cloned().collect();
        let called = |file: &str| {
            file.strip_prefix("bin/").and_then(|file| file.strip_suffix(".rs")).is_some_and(|name| {
                commands
                    .iter()
                    .any(|known| *known == format!("command/{name}.rs") || *known == format!("command/{name}/mod.rs"))
            })
        };
        expected.retain(|file| file != "lib.rs" && !called(file));
        for file in &mut expected {
            // A folder stands for the file that opens it.
            for opening in ["mod.rs", "main.rs"] {
                if let Some(folder) = file.strip_suffix(opening) {
                    *file = folder.to_owned();
                }
            }
        }
        let missing: Vec<&String> = expected.iter().filter(|file| !named.contains(&file.as_str())).collect();
        assert!(missing.is_empty(), "ARCHITECTURE.md, {name}: {missing:?} not named");
        for kind in ["tests", "benches", "examples"] {
            for file in rust_files(&folder.join(kind)) {
                // A test of several files is named by its folder.
                let file = file.split_once('/').map_or(file.clone(), |(folder, _)| format!("{folder}/"));
                let full = format!("{kind}/{file}");
                let is_named = [&file, &full].into_iter().any(|file| named.contains(&file.as_str()));
                assert!(is_named, "ARCHITECTURE.md, {name}: {full} not named");
            }
        }
        for file in named.iter().filter(|file| file.ends_with(".rs")) {
            let places = ["src", ".", "tests", "benches", "examples"];
            assert!(places.iter().any(|place| folder.join(place).join(file).is_file()), "{name} has no {file}");
        }
    }
}

#[test]
fn the_readme_has_exactly_two_commands_to_begin_with() {
    let readme = read("README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Two commands")).unwrap();
    let block = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let commands: Vec<&str> = block.lines().map(|line| line.split('#').next().unwrap().trim()).collect();
    assert_eq!(commands, ["cargo run --bin train", "cargo test --workspace"]);
    assert_eq!(section.matches("```").count(), 2, "one block and no other");
}

#[test]
fn every_command_is_in_the_readme() {
    let readme = read("README.md");
    let table = readme.split("| command |").nth(1).unwrap();
    let binaries = root().join("grapheme-train/src/bin");
    for entry in fs::read_dir(binaries).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(table.contains(&format!("| `{name}` |")), "the README's table has no {name}");
    }
}

/// The documents for people, as paths from the root.
fn documents() -> Vec<String> {
    let mut found: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "data/README.md", "scripts/peers/README.md"]
            .map(str::to_owned)
            .to_vec();
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    found
        .extend(pages.filter_map(|name| Some(format!("docs/{}", name.to_str()?))).filter(|name| name.ends_with(".md")));
    found.sort();
    found
}

/// What links lead to, without those into the web.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    links.filter(|link| !link.contains("://"))
}

#[test]
fn links_between_documents_lead_somewhere() {
    for document in documents() {
        let folder = root().join(&document).parent().unwrap().to_owned();
        // A place on the page itself is not looked for.
        for link in links(&read(&document)).filter(|link| !link.starts_with('#')) {
            assert!(folder.join(link).exists(), "{document} links to {link}");
        }
    }
}

/// Files that stand in backquotes with a path.
#[test]
fn files_that_documents_name_exist() {
    let mut seen = 0;
    for document in documents() {
        let text = read(&document);
        for name in quoted(&text) {
            let is_code = name.ends_with(".rs") && name.contains('/') && !name.contains([' ', '*', '{']);
            // The map names files from their crate, which its own test looks at; recipes name those that are to be made.
            if is_code && document != "ARCHITECTURE.md" {
                let crates = ["", "grapheme-core", "grapheme-optics", "grapheme-train", "grapheme-bench"];
                let places = crates.iter().flat_map(|place| [root().join(place), root().join(place).join("src")]);
                let inner = ["morph", "layers", "loss", "spectral", "field"];
                let mut all = places.flat_map(|place| {
                    let deeper = inner.map(|folder| place.join(folder));
                    std::iter::once(place).chain(deeper)
                });
                assert!(all.any(|place| place.join(name).is_file()), "{document} names {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "{seen}");
}

/// The book has every page of the folder once, and each picture is on a page.
#[test]
fn the_book_holds_every_page_and_every_picture() {
    let summary = read("docs/SUMMARY.md");
    let mut listed: Vec<&str> = links(&summary).collect();
    let mut pages: Vec<String> =
        documents().iter().filter_map(|name| Some(name.strip_prefix("docs/")?.to_owned())).collect();
    pages.retain(|page| page != "SUMMARY.md");
    listed.sort_unstable();
    assert_eq!(listed, pages);
    let all: String = documents().iter().map(|document| read(document)).collect();
    for picture in fs::read_dir(root().join("docs/img")).unwrap() {
        let name = picture.unwrap().file_name().into_string().unwrap();
        assert!(all.contains(&format!("img/{name})")), "no page shows docs/img/{name}");
    }
}
