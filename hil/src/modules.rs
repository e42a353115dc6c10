//! Kernel modules for the guest, in the order in which they can be loaded.
//!
//! Promises: dependencies stand before what needs them, as the modules' own `.modinfo` says; what is
//! built into the kernel is left out. Never: a module that was not asked for or needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// One module: its name with underscores, and its uncompressed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// As the kernel calls it.
    pub name: String,
    /// What `insmod` loads.
    pub bytes: Vec<u8>,
}

/// The modules of one kernel package.
#[derive(Debug)]
pub struct ModuleTree {
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

impl ModuleTree {
    /// Looks at `lib/modules/RELEASE` of an unpacked kernel package.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        let list = folder.join("modules.builtin");
        let text =
            std::fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
        let built_in = text
            .lines()
            .filter_map(|line| name_of(Path::new(line)))
            .collect();
        Ok(Self { files, built_in })
    }

    /// The modules `wanted` and all that they need, in load order.
    ///
    /// # Errors
    /// When one is neither a file nor built in.
    pub fn load_order(&self, wanted: &[&str]) -> anyhow::Result<Vec<Module>> {
        let mut order: Vec<Module> = Vec::new();
        for name in wanted {
            self.visit(name, &mut order, 0)?;
        }
        Ok(order)
    }

    fn visit(&self, name: &str, order: &mut Vec<Module>, depth: usize) -> anyhow::Result<()> {
        const DEPTH_MAX: usize = 32;
        ensure!(depth < DEPTH_MAX, "the module {name} depends on itself");
        if self.built_in.contains(name) || order.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let Some(path) = self.files.get(name) else {
            bail!("the kernel package has no module {name}");
        };
        let bytes = read_module(path)?;
        for needed in dependencies(&bytes) {
            self.visit(&needed, order, depth + 1)?;
        }
        order.push(Module {
            name: name.to_owned(),
            bytes,
        });
        Ok(())
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `kernel/drivers/i2c/i2c-dev.ko.xz` is `i2c_dev`.
fn name_of(path: &Path) -> Option<String> {
    let (stem, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(stem.replace('-', "_"))
}

fn read_module(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz")
            .arg("-dc")
            .arg(path)
            .output()
            .context("run xz")?;
        ensure!(
            output.status.success(),
            "xz could not unpack {}",
            path.display()
        );
        return Ok(output.stdout);
    }
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// `depends=a,b` in the module's `.modinfo`, whose entries end in NUL.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value: Vec<u8> = module
        .iter()
        .skip(at + KEY.len())
        .take_while(|byte| **byte != 0)
        .copied()
        .collect();
    let text = String::from_utf8_lossy(&value);
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(modules: &[(&str, &str)]) -> (tempfile::TempDir, ModuleTree) {
        let folder = tempfile::tempdir().unwrap();
        let kernel = folder.path().join("kernel/drivers");
        std::fs::create_dir_all(&kernel).unwrap();
        for (name, depends) in modules {
            let bytes = format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0");
            std::fs::write(kernel.join(format!("{name}.ko")), bytes).unwrap();
        }
        std::fs::write(
            folder.path().join("modules.builtin"),
            "kernel/lib/crc16.ko\n",
        )
        .unwrap();
        let tree = ModuleTree::open(folder.path()).unwrap();
        (folder, tree)
    }

    fn names(order: &[Module]) -> Vec<&str> {
        order.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn what_a_module_needs_is_loaded_once_and_before_it() {
        let (_folder, tree) = tree(&[
            ("i2c-dev", ""),
            ("mbcache", ""),
            ("jbd2", "crc16"),
            ("ext4", "mbcache,jbd2"),
            ("y", "jbd2"),
        ]);
        let order = tree.load_order(&["ext4", "i2c_dev", "y"]).unwrap();
        assert_eq!(names(&order), ["mbcache", "jbd2", "ext4", "i2c_dev", "y"]);
    }

    #[test]
    fn a_module_that_the_package_does_not_have_is_named() {
        let (_folder, tree) = tree(&[("a", "b")]);
        let error = tree.load_order(&["a"]).unwrap_err();
        assert_eq!(error.to_string(), "the kernel package has no module b");
    }

    #[test]
    fn a_circle_is_an_error_and_not_a_hang() {
        let (_folder, tree) = tree(&[("a", "b"), ("b", "a")]);
        assert!(tree.load_order(&["a"]).is_err());
    }
}
