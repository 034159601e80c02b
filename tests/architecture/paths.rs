//! The paths that a Rust source names: its imports, spelled out, and the paths and macros in its code.
//!
//! Reads tokens, not syntax trees: comments, literals and items under `#[cfg(test)]` are left out, `use` trees are
//! expanded, `super`, `self` and imported names are resolved. The rules are in other files.

use std::collections::HashMap;

/// One path that a source names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    /// An absolute path, as `std::time::Instant` or `crate::peers::registry`. A macro ends in `!`, a glob in `*`.
    pub path: String,
}

impl Named {
    /// Whether this is a glob import that brings in `other`.
    pub fn takes_in(&self, other: &str) -> bool {
        self.path
            .strip_suffix("*")
            .zip(other.rsplit_once("::"))
            .is_some_and(|(glob, (parent, _))| glob.strip_suffix("::") == Some(parent))
    }
}

/// All paths named in `source`, which is the file of `module` (as `["crate", "mesh", "core"]`).
pub fn named_in(source: &str, module: &[String]) -> Vec<Named> {
    let tokens = without_tests(tokens(source));
    let mut reader = Reader {
        tokens: &tokens,
        at: 0,
        module,
        aliases: HashMap::new(),
        found: Vec::new(),
    };
    reader.read();
    reader.found
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Sep,
    Mark(char),
}

struct Spot {
    line: usize,
    token: Token,
}

// --- Tokens ----------------------------------------------------------------------------------------

fn tokens(source: &str) -> Vec<Spot> {
    let text: Vec<char> = source.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut found = Vec::new();
    while at < text.len() {
        let end = token_end(&text, at);
        if let Some(token) = token(&text[at..end]) {
            found.push(Spot { line, token });
        }
        line += text[at..end].iter().filter(|&&c| c == '\n').count();
        at = end;
    }
    found
}

/// The token that this piece of text stands for; `None` for blanks, comments and literals.
fn token(piece: &[char]) -> Option<Token> {
    match piece {
        [':', ':'] => Some(Token::Sep),
        [c, ..] if is_word_start(*c) && !is_literal(piece) => {
            Some(Token::Word(piece.iter().collect()))
        }
        [c] if !c.is_whitespace() => Some(Token::Mark(*c)),
        _ => None,
    }
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_literal(piece: &[char]) -> bool {
    matches!(piece.last(), Some('"' | '\'' | '#'))
}

fn token_end(text: &[char], at: usize) -> usize {
    let rest = &text[at..];
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + comment_length(rest),
        [':', ':', ..] => at + 2,
        ['"', ..] => at + quoted_length(rest),
        ['\'', ..] => at + tick_length(rest),
        [c, ..] if is_word_start(*c) => at + word_or_prefixed_literal_length(rest),
        _ => at + 1,
    }
}

fn comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a `"…"` with escapes, quotes included.
fn quoted_length(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a character literal, or of the tick alone where it begins a lifetime.
fn tick_length(rest: &[char]) -> usize {
    match rest {
        [_, '\\', _, tail @ ..] => {
            3 + tail
                .iter()
                .position(|&c| c == '\'')
                .map_or(0, |end| end + 1)
        }
        [_, _, '\'', ..] => 3,
        _ => 1,
    }
}

/// A word, or a literal with a prefix: `b"…"`, `c"…"`, `r"…"`, `r#"…"#`, `b'…'`.
fn word_or_prefixed_literal_length(rest: &[char]) -> usize {
    let word = rest
        .iter()
        .take_while(|&&c| c.is_alphanumeric() || c == '_')
        .count();
    let prefix: String = rest[..word].iter().collect();
    let tail = &rest[word..];
    let hashes = tail.iter().take_while(|&&c| c == '#').count();
    match prefix.as_str() {
        "r" | "br" | "cr" if tail.get(hashes) == Some(&'"') => word + raw_length(tail, hashes),
        "b" | "c" if tail.first() == Some(&'"') => word + quoted_length(tail),
        "b" if tail.first() == Some(&'\'') => word + tick_length(tail),
        _ => word,
    }
}

fn raw_length(tail: &[char], hashes: usize) -> usize {
    let closes = |at: &usize| {
        tail[*at] == '"'
            && tail[at + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes
    };
    (hashes + 1..tail.len())
        .find(closes)
        .map_or(tail.len(), |at| at + 1 + hashes)
}

// --- Test code -------------------------------------------------------------------------------------

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Spot>) -> Vec<Spot> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let here = tokens[at..]
            .iter()
            .take(mark.len())
            .map(|spot| spelled(&spot.token));
        if here.eq(mark.iter().map(|part| (*part).to_owned())) {
            at = item_end(&tokens, at + mark.len());
        } else {
            kept.push(Spot {
                line: tokens[at].line,
                token: tokens[at].token.clone(),
            });
            at += 1;
        }
    }
    kept
}

fn spelled(token: &Token) -> String {
    match token {
        Token::Word(word) => word.clone(),
        Token::Sep => "::".to_owned(),
        Token::Mark(mark) => mark.to_string(),
    }
}

/// The end of the item that begins at `at`: behind its first `;` or its first block.
fn item_end(tokens: &[Spot], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(spot) = tokens.get(at) {
        at += 1;
        match spot.token {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') if depth <= 1 => return at,
            Token::Mark('}') => depth -= 1,
            Token::Mark(';') if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

// --- Paths -----------------------------------------------------------------------------------------

struct Reader<'a> {
    tokens: &'a [Spot],
    at: usize,
    module: &'a [String],
    /// The path that each imported name stands for.
    aliases: HashMap<String, Vec<String>>,
    found: Vec<Named>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(spot) = self.tokens.get(self.at) {
            match &spot.token {
                Token::Word(word) if word == "use" => {
                    self.at += 1;
                    self.import(&[]);
                }
                Token::Word(_) => self.path_in_code(),
                _ => self.at += 1,
            }
        }
    }

    fn token(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|spot| &spot.token)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |spot| spot.line)
    }

    /// Takes the next token if it is `wanted`.
    fn take(&mut self, wanted: &Token) -> bool {
        let there = self.token() == Some(wanted);
        self.at += usize::from(there);
        there
    }

    fn take_word(&mut self) -> Option<String> {
        let Some(Token::Word(word)) = self.token() else {
            return None;
        };
        let word = word.clone();
        self.at += 1;
        Some(word)
    }

    /// One branch of a `use` tree, below the segments that lead to it.
    fn import(&mut self, above: &[String]) {
        let mut path = above.to_vec();
        let mut line = self.line();
        self.take(&Token::Sep);
        loop {
            if self.take(&Token::Mark('{')) {
                return self.branches(&path);
            }
            line = if self.token().is_some() {
                self.line()
            } else {
                line
            };
            if self.take(&Token::Mark('*')) {
                path.push("*".to_owned());
            } else if let Some(word) = self.take_word() {
                path.push(word);
            } else {
                return;
            }
            if !self.take(&Token::Sep) {
                break;
            }
        }
        if path.len() > above.len() && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let renamed = self
            .take(&Token::Word("as".to_owned()))
            .then(|| self.take_word())
            .flatten();
        let path = self.absolute(path);
        if let Some(name) = renamed.or_else(|| path.last().cloned()) {
            self.aliases.insert(name, path.clone());
        }
        self.found.push(Named {
            line,
            path: path.join("::"),
        });
    }

    fn branches(&mut self, above: &[String]) {
        while self.token().is_some() && !self.take(&Token::Mark('}')) {
            let before = self.at;
            self.import(above);
            let moved = self.take(&Token::Mark(',')) || self.at > before;
            self.at += usize::from(!moved);
        }
    }

    /// A path of two segments or more, or a macro. A single name has been counted with its import.
    fn path_in_code(&mut self) {
        let line = self.line();
        let mut path = Vec::new();
        while let Some(word) = self.take_word() {
            path.push(word);
            if !self.take(&Token::Sep) {
                break;
            }
        }
        let is_macro = self.token() == Some(&Token::Mark('!'));
        if path.len() < 2 && !is_macro {
            return;
        }
        let mut path = self.resolved(path);
        if is_macro {
            // The standard library's macros are known by their bare names.
            path = vec![format!("{}!", path.last().map_or("", String::as_str))];
        }
        self.found.push(Named {
            line,
            path: path.join("::"),
        });
    }

    fn resolved(&self, path: Vec<String>) -> Vec<String> {
        match path.first().and_then(|first| self.aliases.get(first)) {
            Some(full) => full
                .iter()
                .cloned()
                .chain(path.into_iter().skip(1))
                .collect(),
            None => self.absolute(path),
        }
    }

    /// Spells out leading `self` and `super`.
    fn absolute(&self, path: Vec<String>) -> Vec<String> {
        let ups = path
            .iter()
            .take_while(|segment| matches!(segment.as_str(), "self" | "super"));
        let (count, climbs) = ups.fold((0, 0), |(count, climbs), up| {
            (count + 1, climbs + usize::from(up == "super"))
        });
        if count == 0 {
            return path;
        }
        let base = &self.module[..self.module.len().saturating_sub(climbs)];
        base.iter()
            .cloned()
            .chain(path.into_iter().skip(count))
            .collect()
    }
}
