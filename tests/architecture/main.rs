//! The walls between parts of the sources that no manifest draws: the paths that the sources in each directory may
//! name.
//!
//! The dependencies of a package are in its Cargo.toml. The walls here are the other rules: for the standard library's
//! own IO, clocks and entropy, and inside a package. Each rule holds for one directory. The tests read the sources as
//! text (`paths.rs`), so they name a breach by file, line and reason, and also read code behind a `cfg`. Unit tests
//! inside the sources are exempt.
//!
//! To change a wall, change [`WALLS`], and say why in the commit.

mod circles;
mod packages;
mod paths;
mod way;

use std::fs;
use std::path::{Path, PathBuf};

use paths::Named;

/// The paths that the sources under one directory must not name.
struct Wall {
    /// A directory of sources. The file of the same name beside it belongs to it, if it exists.
    room: &'static str,
    /// Paths, each with all paths below it. A macro ends in `!`.
    banned: &'static [&'static str],
    /// Paths below a banned path that are allowed.
    except: &'static [&'static str],
    reason: &'static str,
}

const WALLS: &[Wall] = &[
    Wall {
        room: "crates/core/src",
        banned: &["std::time::Instant", "std::time::SystemTime"],
        except: &[],
        reason: "the core reads no clock: `now` comes in with every input, so that time can be virtual",
    },
    Wall {
        room: "crates/core/src",
        banned: &[
            "std::hash::RandomState",
            "std::collections::hash_map::RandomState",
        ],
        except: &[],
        reason: "the core draws nothing by itself: the same seed has to give the same trace",
    },
    Wall {
        room: "crates/core/src",
        banned: &["std::thread", "std::process", "std::env", "std::fs"],
        except: &[],
        reason: "the core starts nothing and asks the machine nothing: a thousand of them run in one test",
    },
    Wall {
        room: "crates/core/src",
        banned: &[
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "std::net::ToSocketAddrs",
        ],
        except: &[],
        reason: "the core opens no socket: it says what to send, and its driver sends it",
    },
    Wall {
        room: "crates/core/src",
        banned: &[
            "print!",
            "println!",
            "eprint!",
            "eprintln!",
            "dbg!",
            "std::io::stdout",
            "std::io::stderr",
        ],
        except: &[],
        reason: "the core prints nothing: what is worth telling is one of its outputs",
    },
    Wall {
        room: "src/dialect",
        banned: &[
            "crate::http",
            "crate::hub",
            "crate::mesh",
            "crate::peers",
            "crate::session",
            "hubmesh_core",
        ],
        except: &["hubmesh_core::api", "hubmesh_core::ids"],
        reason: "a dialect turns bytes into signals and back: of the hub it knows the vocabulary alone",
    },
    Wall {
        room: "src/dialect",
        banned: &[
            "tokio",
            "hyper",
            "warp",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::time::Instant",
            "std::time::SystemTime",
        ],
        except: &[],
        reason: "a dialect is a pure codec: no socket, no task, no clock",
    },
];

impl Wall {
    /// The breaches of this wall in one source file, each as `file:line: what (why)`.
    fn breaches(&self, file: &Path, source: &str) -> Vec<String> {
        let module = module_of(file);
        paths::named_in(source, &module)
            .into_iter()
            .filter(|named| self.forbids(named))
            .map(|named| {
                format!(
                    "{}:{}: names {} ({})",
                    file.display(),
                    named.line,
                    named.path,
                    self.reason
                )
            })
            .collect()
    }

    fn forbids(&self, named: &Named) -> bool {
        let mut banned = self.banned.iter();
        let mut except = self.except.iter();
        banned.any(|wall| is_below(&named.path, wall) || named.takes_in(wall))
            && !except.any(|wall| is_below(&named.path, wall))
    }

    /// The files of the package, relative to the repository. Unit tests in files of their own are left out.
    fn files(&self, repository: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let beside = format!("{}.rs", self.room);
        if repository.join(&beside).is_file() {
            files.push(PathBuf::from(beside));
        }
        collect(repository, Path::new(self.room), &mut files);
        files
    }
}

/// Whether `path` is `ancestor` or a path below it.
fn is_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module that a source file holds: `crates/core/src/links.rs` is `crate::links`.
fn module_of(file: &Path) -> Vec<String> {
    let parts = file.iter().skip_while(|part| *part != "src").skip(1);
    inside(&parts.collect::<PathBuf>())
}

/// The module that a file holds. The path of the file begins in the directory of its package's sources.
fn inside(file: &Path) -> Vec<String> {
    let file = file.with_extension("");
    let mut module = vec!["crate".to_owned()];
    module.extend(file.iter().map(|part| part.to_string_lossy().into_owned()));
    if module
        .last()
        .is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main"))
    {
        module.pop();
    }
    module
}

fn collect(repository: &Path, directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(repository.join(directory)) else {
        return;
    };
    for entry in entries {
        let entry = entry.expect("a readable directory");
        let path = directory.join(entry.file_name());
        let holds_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if holds_tests {
            continue;
        }
        if entry.path().is_dir() {
            collect(repository, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn every_wall_stands() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut breaches = Vec::new();
    for wall in WALLS {
        for file in wall.files(repository) {
            let source = fs::read_to_string(repository.join(&file)).expect("a readable source");
            breaches.extend(wall.breaches(&file, &source));
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// If a directory is renamed, its wall would forbid nothing, and never fail.
#[test]
fn every_wall_surrounds_some_source() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for wall in WALLS {
        assert!(
            !wall.files(repository).is_empty(),
            "there is no {}: where did it move?",
            wall.room
        );
    }
}

/// All breaches that the walls find in `source`, as if it were the text of `file`.
fn breaches_in(file: &str, source: &str) -> Vec<String> {
    let file = Path::new(file);
    let inside = |wall: &&Wall| {
        file.starts_with(wall.room) || file == Path::new(&format!("{}.rs", wall.room))
    };
    WALLS
        .iter()
        .filter(inside)
        .flat_map(|wall| wall.breaches(file, source))
        .collect()
}

#[test]
fn the_walls_of_the_core_can_be_breached() {
    let bad = [
        "use std::time::Instant;",
        "use std::time::{Duration, Instant};",
        "use std::{fmt, time::{\n    Duration,\n    SystemTime as Clock,\n}};",
        "use std::time::*;",
        "fn f() -> std::time::SystemTime { loop {} }",
        "use std::time;\nfn f() { time::Instant::now(); }",
        "use std::time as t;\nfn f() { t::Instant::now(); }",
        "use std::thread;",
        "use std::net::{IpAddr, TcpStream};",
        "use ::std::hash::RandomState;",
        "fn f() { println!(\"here\"); }",
        "fn f() { std::println!(\"here\"); }",
        "fn f() { dbg!(1); }",
    ];
    for source in bad {
        let found = breaches_in("crates/core/src/links.rs", source);
        assert!(!found.is_empty(), "nobody minds: {source}");
    }
}

#[test]
fn what_the_core_needs_is_let_through() {
    let good = "
        //! Never std::time::Instant: println!(\"not code\").
        /* std::env::args() /* nested */ std::thread::spawn */
        use std::net::IpAddr;
        use std::time::Duration;
        use crate::frames::ControlFrame;
        use super::thread_like::pick;
        struct Instant<'a>(&'a str);
        fn f(env: u8) -> char {
            let _ = \"use std::thread; \\\" std::thread::park()\";
            let _ = r#\"dbg!(\"x\") std::thread::spawn\"#;
            let _ = b\"std::fs::read\";
            let _ = env + 1;
            '\"'
        }
        fn g() -> &'static str { \"std::thread::spawn\" }
        #[cfg(test)]
        mod tests {
            use std::time::Instant;
            fn noisy() { println!(\"{{\"); }
        }
    ";
    assert_eq!(
        breaches_in("crates/core/src/links.rs", good),
        Vec::<String>::new()
    );
}

#[test]
fn code_after_a_test_module_is_read_again() {
    let source = "#[cfg(test)]\nmod tests { fn f() {} }\nfn g() { println!(); }";
    let found = breaches_in("crates/core/src/links.rs", source);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("crates/core/src/links.rs:3: names println!"),
        "{found:?}"
    );
}

#[test]
fn a_breach_is_named_by_file_line_and_reason() {
    let source = "//! Doc.\n\nuse std::time::{\n    Duration,\n    Instant,\n};\n";
    let found = breaches_in("crates/core/src/topology/spf.rs", source);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("crates/core/src/topology/spf.rs:5: names std::time::Instant ("),
        "{found:?}"
    );
    assert!(found[0].contains("reads no clock"), "{found:?}");
}

#[test]
fn a_dialect_knows_the_vocabulary_and_nothing_else_of_the_hub() {
    let vocabulary = "use hubmesh_core::{api::PeerEvent, ids::PeerId};";
    assert_eq!(
        breaches_in("src/dialect/pigeon.rs", vocabulary),
        Vec::<String>::new()
    );

    for source in [
        "use crate::peers::Registry;",
        "use super::super::session::Session;",
        "fn f(_: crate::mesh::driver::Driver) {}",
        "use hubmesh_core::{ids::PeerId, Core};",
        "use crate::mesh::*;",
        "fn f() { std::time::SystemTime::now(); }",
    ] {
        assert!(
            !breaches_in("src/dialect/pigeon.rs", source).is_empty(),
            "nobody minds: {source}"
        );
    }
    assert!(
        !breaches_in(
            "src/dialect/mod.rs",
            "use super::peers::registry::Registry;"
        )
        .is_empty()
    );
    assert!(
        breaches_in("src/dialect/pigeon.rs", "use super::session::Turn;").is_empty(),
        "a module of its own"
    );
}
