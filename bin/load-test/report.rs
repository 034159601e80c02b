//! What a run found: named figures with units, printed as a table or as JSON.
//!
//! Owns the layout of both. A figure's key is stable and is what programs read; its label is for people. Tables are
//! Markdown, so that they can be pasted into documentation as they are.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::process::ProcessUsage;

#[derive(Clone, Debug)]
pub struct Report {
    pub title: String,
    figures: Vec<Figure>,
    notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Figure {
    key: String,
    label: String,
    value: f64,
    unit: &'static str,
}

impl Report {
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn figure(&mut self, key: &str, label: &str, value: f64, unit: &'static str) {
        self.figures.push(Figure {
            key: key.to_owned(),
            label: label.to_owned(),
            value,
            unit,
        });
    }

    pub fn count(&mut self, key: &str, label: &str, count: u64) {
        self.figure(key, label, count as f64, "");
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The figure called `key`.
    pub fn value(&self, key: &str) -> Option<f64> {
        let figure = self.figures.iter().find(|figure| figure.key == key)?;
        Some(figure.value)
    }

    /// Percentiles of a histogram of nanoseconds, in microseconds.
    pub fn latency(&mut self, histogram: &Histogram<u64>) {
        for (key, label, quantile) in [
            ("latency_p50_us", "latency p50", 0.5),
            ("latency_p90_us", "latency p90", 0.9),
            ("latency_p99_us", "latency p99", 0.99),
            ("latency_p999_us", "latency p99.9", 0.999),
            ("latency_max_us", "latency max", 1.0),
        ] {
            let micros = histogram.value_at_quantile(quantile) as f64 / 1_000.0;
            self.figure(key, label, micros, "µs");
        }
    }

    /// CPU time of the servers over the steady phase, as a sum and per `units` of work, and resident memory.
    pub fn servers(&mut self, used: &[ProcessUsage], units: u64, per: &str) {
        if used.is_empty() {
            self.note("no --pid given, so nothing is known of the server's CPU time and memory");
            return;
        }
        let cpu: Duration = used.iter().map(|process| process.cpu).sum();
        let resident: u64 = used.iter().map(|process| process.resident).sum();
        self.figure("cpu_s", "server CPU", cpu.as_secs_f64(), "s");
        if units > 0 {
            let micros = cpu.as_secs_f64() * 1e6 / units as f64;
            self.figure(
                "cpu_us_per_unit",
                &format!("server CPU per {per}"),
                micros,
                "µs",
            );
        }
        self.figure("resident_mib", "server resident", mib(resident), "MiB");
        if used.len() > 1 {
            for process in used {
                let pid = process.pid;
                let cpu = process.cpu.as_secs_f64();
                self.figure(&format!("cpu_s_{pid}"), &format!("CPU of {pid}"), cpu, "s");
                let resident = mib(process.resident);
                self.figure(
                    &format!("resident_mib_{pid}"),
                    &format!("resident of {pid}"),
                    resident,
                    "MiB",
                );
            }
        }
        if cpu < Duration::from_millis(500) {
            self.note("less than 0.5 s of server CPU was measured and the kernel counts in ticks of 10 ms: run longer for a firm figure");
        }
    }

    pub fn to_table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .figures
            .iter()
            .map(|figure| vec![figure.label.clone(), shown(figure.value, figure.unit)])
            .collect();
        let mut text = format!("{}\n\n{}", self.title, table(&["figure", "value"], &rows));
        for note in &self.notes {
            // Writing to a String does not fail.
            let _ = write!(text, "\n{note}");
        }
        text
    }

    pub fn to_json(&self) -> Value {
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|figure| (figure.key.clone(), number(figure.value)))
            .collect();
        json!({"title": self.title, "figures": figures, "notes": self.notes})
    }
}

/// Counts as whole numbers.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A number with as many decimals as are worth reading, and its unit.
pub fn shown(value: f64, unit: &str) -> String {
    let decimals = match value.abs() {
        v if v.fract() == 0.0 || v >= 1_000.0 => 0,
        v if v >= 100.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$} {unit}").trim_end().to_owned()
}

/// A Markdown table with aligned columns.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(head.get(column).map_or(0, |cell| cell.chars().count()))
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| {
            let gap = width.saturating_sub(cell.chars().count());
            format!(" {cell}{} |", " ".repeat(gap))
        });
        format!("|{}\n", padded.collect::<String>())
    };
    let rule: String = widths
        .iter()
        .map(|width| format!("{}|", "-".repeat(width + 2)))
        .collect();
    let body = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    format!(
        "{}|{rule}\n{}",
        line(head.to_vec()),
        body.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_markdown() {
        let rows = [vec!["µ".to_owned(), "1".to_owned()]];
        assert_eq!(
            table(&["ab", "c"], &rows),
            "| ab | c |\n|----|---|\n| µ  | 1 |\n"
        );
    }

    #[test]
    fn cpu_is_given_per_unit_and_for_each_process() {
        let process = |pid| ProcessUsage {
            pid,
            cpu: Duration::from_secs(1),
            resident: 1 << 20,
        };
        let mut report = Report::new("t");
        report.servers(&[process(1), process(2)], 1_000_000, "message");
        assert_eq!(report.value("cpu_us_per_unit"), Some(2.0));
        assert_eq!(report.value("resident_mib"), Some(2.0));
        assert_eq!(report.value("cpu_s_2"), Some(1.0));
    }
}
