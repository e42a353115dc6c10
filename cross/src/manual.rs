//! Manual pages.

use std::fs;
use std::path::Path;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Writes `PROGRAM.1` with the sections of `more` behind it, and `PROGRAM-COMMAND.1` for each command.
pub(crate) fn write(command: clap::Command, folder: &Path, more: &str) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let name = command.get_name().to_owned();
    for page in pages(&command, &name) {
        let (title, bytes) = page?;
        let mut bytes = bytes;
        if title == name {
            bytes.extend_from_slice(more.as_bytes());
        }
        fs::write(folder.join(format!("{title}.1")), bytes)?;
    }
    Ok(())
}

/// The page of a command, and those of the commands below it.
fn pages(command: &clap::Command, title: &str) -> Vec<anyhow::Result<(String, Vec<u8>)>> {
    let mut all = vec![page(command, title).map(|bytes| (title.to_owned(), bytes))];
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        all.extend(pages(below, &format!("{title}-{}", below.get_name())));
    }
    all
}

fn page(command: &clap::Command, title: &str) -> anyhow::Result<Vec<u8>> {
    // The name of a page has no space in it; the synopsis keeps the words that are typed.
    let words = command.get_bin_name().unwrap_or(title).to_owned();
    let examples = command.get_after_help().map(ToString::to_string);
    // clap keeps names for the life of the program, which is a moment here.
    let name: &'static str = title.to_owned().leak();
    let command = command.clone().name(name).bin_name(words).after_help("");
    let man = Man::new(command).title(title.to_uppercase());
    let mut bytes = Vec::new();
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    man.render_subcommands_section(&mut bytes)?;
    render_examples(examples.as_deref().unwrap_or(""), &mut bytes)?;
    Ok(bytes)
}

/// The text behind the help, whose headings end in a colon: they become sections, their lines stay lines.
fn render_examples(text: &str, out: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut roff = Roff::new();
    let mut is_open = false;
    for line in text.lines() {
        match line.strip_suffix(':').filter(|l| !l.starts_with(' ')) {
            Some(heading) => {
                if std::mem::replace(&mut is_open, true) {
                    roff.control("fi", []);
                }
                let heading = match heading {
                    "Exit codes" => "EXIT STATUS".to_owned(),
                    other => other.to_uppercase(),
                };
                roff.control("SH", [heading.as_str()]);
                roff.control("nf", []);
            }
            None if line.trim().is_empty() => {}
            None => {
                roff.text([roman(line.trim_start())]);
            }
        }
    }
    if is_open {
        roff.control("fi", []);
    }
    roff.to_writer(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options_and_the_first_page_has_more() {
        let folder = tempfile::tempdir().unwrap();
        for (command, name) in [
            (gateway::command(), "fleet-gateway"),
            (central::command(), "fleet-central"),
        ] {
            write(command.clone(), folder.path(), ".SH FILES\nsomewhere\n").unwrap();
            let read = |page: &str| fs::read_to_string(folder.path().join(page)).unwrap();
            let first = read(&format!("{name}.1"));
            assert!(first.contains(".SH FILES"), "{first}");
            assert!(first.contains("EXIT STATUS"), "{first}");
            for below in command.get_subcommands() {
                let page = read(&format!("{name}-{}.1", below.get_name()));
                assert!(page.contains(".SH SYNOPSIS"), "{page}");
                assert!(!page.contains(".SH FILES"), "{page}");
            }
        }
        let run = fs::read_to_string(folder.path().join("fleet-gateway-run.1")).unwrap();
        assert!(run.contains("config"), "{run}");
        assert!(folder.path().join("fleet-gateway-spool-inspect.1").exists());
    }
}
