//! A directory of stub tools for runs of the project's scripts.
//!
//! Owns the temporary directory that is the scripts' whole search path. The scripts find only
//! tools that are stubbed or borrowed, even if this machine has others installed. The tests
//! beside this file call it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The root of this checkout of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The path of a tool, if this machine has it.
pub fn installed(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(tool))
        .find(|candidate| candidate.is_file())
}

/// The end of a script's run, its output, and its calls.
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// One line for each call of a stub: its name and its arguments.
    pub calls: Vec<String>,
    /// The text that was piped into the stubs that read their standard input.
    pub piped: String,
}

impl Outcome {
    /// The calls that begin with `start`.
    pub fn calls_of(&self, start: &str) -> Vec<&str> {
        self.calls
            .iter()
            .map(String::as_str)
            .filter(|call| call.starts_with(start))
            .collect()
    }

    /// Checks that the script exited with 0.
    #[track_caller]
    pub fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
    }

    /// Checks that `text` is on the script's standard output.
    #[track_caller]
    pub fn says(&self, text: &str) {
        assert!(self.stdout.contains(text), "no {text}: {}", self.stdout);
    }

    /// Checks that `text` is on the script's standard error.
    #[track_caller]
    pub fn complains(&self, text: &str) {
        assert!(self.stderr.contains(text), "no {text}: {}", self.stderr);
    }

    /// Everything that a bystander could have seen: the output and every argument list.
    pub fn visible(&self) -> String {
        format!(
            "{}\n{}\n{}",
            self.stdout,
            self.stderr,
            self.calls.join("\n")
        )
    }
}

pub struct Workshop {
    directory: TempDir,
    environment: Vec<(String, String)>,
}

impl Workshop {
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        fs::create_dir(directory.path().join("bin")).expect("the search path");
        let workshop = Self {
            directory,
            environment: Vec::new(),
        };
        for tool in ["bash", "cat", "dirname"] {
            workshop.borrow(tool);
        }
        workshop
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Lets the script use this machine's own `tool`.
    pub fn borrow(&self, tool: &str) {
        let real = installed(tool).unwrap_or_else(|| panic!("this machine has no {tool}"));
        symlink(real, self.path().join("bin").join(tool)).expect("a link to the tool");
    }

    /// Adds a tool that writes down its call and then runs `body`, in bash.
    pub fn stub(&self, tool: &str, body: &str) {
        let path = self.path().join("bin").join(tool);
        let bash = installed("bash").expect("this machine has bash");
        let calls = self.path().join("calls");
        let script = format!(
            "#!{}\nprintf '%s\\n' \"{tool} $*\" >>'{}'\n{body}\n",
            bash.display(),
            calls.display()
        );
        fs::write(&path, script).expect("the stub is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the stub may run");
    }

    /// Sets an environment variable for the scripts. They inherit nothing else but `PATH`.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a script of the repository to its end.
    pub fn run(&self, script: &str, arguments: &[&str]) -> Outcome {
        self.run_in(repository(), script, arguments)
    }

    /// Runs the `script` of a checkout at `root` to its end.
    pub fn run_in(&self, root: &Path, script: &str, arguments: &[&str]) -> Outcome {
        let output = Command::new(self.path().join("bin/bash"))
            .arg(root.join(script))
            .args(arguments)
            .env_clear()
            .env("PATH", self.path().join("bin"))
            .env("WORKSHOP", self.path())
            .envs(self.environment.iter().cloned())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .output()
            .expect("bash runs");
        Outcome {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("text on standard output"),
            stderr: String::from_utf8(output.stderr).expect("text on standard error"),
            calls: self.written("calls").lines().map(str::to_owned).collect(),
            piped: self.written("piped"),
        }
    }

    fn written(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap_or_default()
    }
}
