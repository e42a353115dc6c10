//! The report as a table for people.

use std::fmt;

use super::report::Report;

/// The report as text.
pub(crate) fn table(report: &Report) -> String {
    Table(report).to_string()
}

struct Table<'a>(&'a Report);

const HEAD: [&str; 9] = [
    "device", "issued", "stored", "dup", "lost", "expired", "gaps", "quarant.", "clashes",
];

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        row(f, HEAD.map(str::to_owned))?;
        for device in &report.devices {
            let name = match device.device.as_str() {
                "" => "(unknown)",
                name => name,
            };
            let numbers = [
                device.issued,
                device.stored,
                device.duplicates,
                device.lost,
                device.expired,
                device.unexplained_gaps,
                device.quarantined,
                device.clashes,
            ];
            numbers_row(f, name, numbers)?;
        }
        let numbers = [
            report.issued,
            report.stored,
            report.duplicates,
            report.lost,
            report.expired,
            report.unexplained_gaps,
            report.quarantined,
            report.clashes,
        ];
        numbers_row(f, "total", numbers)?;
        for (reason, count) in &report.lost_by_reason {
            writeln!(f, "lost: {count} {reason}")?;
        }
        for device in &report.devices {
            for gap in &device.gaps {
                writeln!(
                    f,
                    "unexplained gap: {} {} {} {}..={}",
                    device.device, gap.epoch, gap.lane, gap.first_seq, gap.last_seq
                )?;
            }
            for tail in &device.unknown_tails {
                let at_most = tail
                    .at_most
                    .map_or("unknown".to_owned(), |most| most.to_string());
                writeln!(
                    f,
                    "unknown tail: {} {} {} from {}, at most {at_most}",
                    device.device, tail.epoch, tail.lane, tail.first_seq
                )?;
            }
        }
        if report.unlisted > 0 {
            writeln!(f, "stored but not in the have-set: {}", report.unlisted)?;
        }
        let verdict = match report.is_sound() {
            true => "sound: every issued number is stored once or explained",
            false => "NOT SOUND",
        };
        writeln!(f, "{verdict}")
    }
}

fn numbers_row(f: &mut fmt::Formatter<'_>, name: &str, numbers: [u64; 8]) -> fmt::Result {
    write!(f, "{name:<32}")?;
    for number in numbers {
        write!(f, " {number:>11}")?;
    }
    writeln!(f)
}

fn row(f: &mut fmt::Formatter<'_>, cells: [String; 9]) -> fmt::Result {
    for (index, cell) in cells.iter().enumerate() {
        match index {
            0 => write!(f, "{cell:<32}")?,
            _ => write!(f, " {cell:>11}")?,
        }
    }
    writeln!(f)
}
