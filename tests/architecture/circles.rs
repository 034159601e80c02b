//! No circles: neighbours in a directory depend on each other in one direction only.
//!
//! In each directory, a file and the directory of the same name are one module. A module depends on a neighbour when an
//! item in it names an item in the neighbour. A module may name the module that holds it, and the modules in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{collect, inside, paths};

type Module = Vec<String>;
/// For each module that holds others: the dependencies between these, each with a place in the sources that shows it.
type Neighbours = BTreeMap<Module, BTreeMap<String, BTreeMap<String, String>>>;

fn neighbours(repository: &Path, sources: &Path) -> Neighbours {
    let mut files = Vec::new();
    collect(repository, sources, &mut files);
    let module_of = |file: &Path| {
        let file = file.strip_prefix(sources).expect("a file of these sources");
        inside(file)
    };
    let modules: BTreeSet<Module> = files.iter().map(|file| module_of(file)).collect();
    let mut found = Neighbours::new();
    for file in &files {
        let module = module_of(file);
        let text = std::fs::read_to_string(repository.join(file)).expect("a readable source");
        for named in paths::named_in(&text, &module) {
            let target: Module = named.path.split("::").map(str::to_owned).collect();
            let target = holder(&target, &modules);
            if let Some((level, from, to)) = apart(&module, &target) {
                let place = format!("{}:{}: {}", file.display(), named.line, named.path);
                let of_level = found.entry(level).or_default();
                of_level.entry(from).or_default().entry(to).or_insert(place);
            }
        }
    }
    found
}

/// The module that holds the item of this path; empty for a path of another package.
fn holder(path: &[String], modules: &BTreeSet<Module>) -> Module {
    let mut longest_first = (0..=path.len()).rev().map(|length| &path[..length]);
    let held = longest_first.find(|start| modules.contains(*start));
    held.unwrap_or_default().to_vec()
}

/// The innermost module that holds both modules, and the two neighbours in it that the modules belong to.
fn apart(from: &[String], to: &[String]) -> Option<(Module, String, String)> {
    let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let (first, second) = (from.get(common)?, to.get(common)?);
    (common > 0).then(|| (from[..common].to_vec(), first.clone(), second.clone()))
}

/// A circle among neighbours, if one exists: each neighbour depends on the next, and the last on the first.
fn circle(edges: &BTreeMap<String, BTreeMap<String, String>>) -> Option<Vec<String>> {
    let mut left: BTreeMap<&str, BTreeSet<&str>> = edges
        .iter()
        .map(|(from, to)| (from.as_str(), to.keys().map(String::as_str).collect()))
        .collect();
    // A module that depends on none of the rest is in no circle, and is removed.
    loop {
        let known: BTreeSet<&str> = left.keys().copied().collect();
        left.values_mut()
            .for_each(|to| to.retain(|to| known.contains(to)));
        let before = left.len();
        left.retain(|_, to| !to.is_empty());
        if left.len() == before {
            break;
        }
    }
    let mut way: Vec<&str> = vec![left.keys().next()?];
    loop {
        let next = *left[way.last()?].iter().next()?;
        if let Some(start) = way.iter().position(|seen| *seen == next) {
            return Some(way[start..].iter().map(|name| (*name).to_owned()).collect());
        }
        way.push(next);
    }
}

fn told(
    level: &[String],
    circle: &[String],
    edges: &BTreeMap<String, BTreeMap<String, String>>,
) -> String {
    let following = circle.iter().cycle().skip(1);
    let lines = circle.iter().zip(following).map(|(from, to)| {
        let place = &edges[from][to];
        format!("  {from} -> {to}  ({place})")
    });
    let lines: Vec<String> = lines.collect();
    format!("a circle in {}:\n{}", level.join("::"), lines.join("\n"))
}

fn circles(repository: &Path, sources: &Path) -> Vec<String> {
    let neighbours = neighbours(repository, sources);
    let found = neighbours
        .iter()
        .filter_map(|(level, edges)| circle(edges).map(|circle| told(level, &circle, edges)));
    found.collect()
}

#[test]
fn no_files_or_directories_side_by_side_form_a_circle() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = held_by(repository, "bin");
    let programs = programs
        .into_iter()
        .filter(|path| repository.join(path).is_dir());
    let packages = held_by(repository, "crates");
    let packages = packages.into_iter().map(|path| path.join("src"));
    let alone = ["src", "fuzz/src"].map(PathBuf::from);
    let all: Vec<PathBuf> = programs.chain(packages).chain(alone).collect();
    assert!(all.len() > 10, "{all:?}");
    let found: Vec<String> = all
        .iter()
        .flat_map(|sources| circles(repository, sources))
        .collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

/// The entries of a directory of the repository.
fn held_by(repository: &Path, directory: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository.join(directory)).expect("it is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names.map(|name| Path::new(directory).join(name)).collect()
}

fn edges(of: &[(&str, &[&str])]) -> BTreeMap<String, BTreeMap<String, String>> {
    let to = |to: &&str| ((*to).to_owned(), "somewhere".to_owned());
    of.iter()
        .map(|(from, all)| ((*from).to_owned(), all.iter().map(to).collect()))
        .collect()
}

#[test]
fn a_circle_is_found_whatever_leads_to_it_and_from_it() {
    let tree = edges(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"])]);
    assert_eq!(circle(&tree), None);
    let round = edges(&[
        ("a", &["b"]),
        ("b", &["c", "e"]),
        ("c", &["d"]),
        ("d", &["b"]),
    ]);
    let found = circle(&round).expect("b leads to c, to d, to b");
    assert_eq!(found, ["b", "c", "d"]);
    let shown = told(&["crate".to_owned()], &found, &round);
    assert!(shown.contains("d -> b  (somewhere)"), "{shown}");
}

#[test]
fn only_neighbours_form_circles() {
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let between = |from: &str, to: &str| apart(&module(from), &module(to));
    let expected = (module("crate"), "mesh".to_owned(), "http".to_owned());
    assert_eq!(
        between("crate::mesh::link", "crate::http::serve"),
        Some(expected)
    );
    assert_eq!(
        between("crate::mesh::link", "crate::mesh"),
        None,
        "what holds it"
    );
    assert_eq!(
        between("crate::mesh", "crate::mesh::link"),
        None,
        "what it holds"
    );
    assert_eq!(between("crate::mesh", ""), None, "another package");
}
