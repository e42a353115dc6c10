//! The bill of materials: every crate that is linked into what a package carries, as CycloneDX 1.5.
//!
//! Promises: the graph is the one that cargo resolved for the target, without development dependencies;
//! each crate has its version, licence, checksum and what it needs. Never: a time or a serial number, so
//! that equal sources have equal bills.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// The bill of these packages of the workspace, named after the first.
pub(crate) fn bill(roots: &[&str], metadata: &str, lock: &str) -> anyhow::Result<Value> {
    let metadata: Value = serde_json::from_str(metadata).context("cargo metadata")?;
    let packages = by_id(&metadata, "packages")?;
    let nodes = by_id(metadata.get("resolve").context("no resolve")?, "nodes")?;
    let checksums = checksums(lock);
    let root_id = |root: &&str| {
        packages
            .iter()
            .find(|(id, package)| text(package, "name") == *root && is_member(&metadata, id))
            .map(|(id, _)| *id)
            .with_context(|| format!("the workspace has no package {root}"))
    };
    let root_ids: Vec<&str> = roots.iter().map(root_id).collect::<anyhow::Result<_>>()?;
    let first_id = root_ids.first().context("no package is named")?;
    let reached = reached(&root_ids, &nodes);
    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for id in &reached {
        let package = packages.get(id).context("a node without a package")?;
        let needs: Vec<String> = needs(nodes.get(id))
            .into_iter()
            .filter_map(|id| packages.get(id).map(|package| purl(package)))
            .collect();
        dependencies.push(json!({ "ref": purl(package), "dependsOn": needs }));
        if id != first_id {
            let kind = match root_ids.contains(id) {
                true => "application",
                false => "library",
            };
            components.push(component(package, kind, &checksums));
        }
    }
    ensure!(components.len() > 1, "{roots:?} have no dependencies");
    let root = packages.get(first_id).context("no root")?;
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(root, "application", &checksums) },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn by_id<'a>(value: &'a Value, key: &str) -> anyhow::Result<BTreeMap<&'a str, &'a Value>> {
    let list = value.get(key).and_then(Value::as_array);
    let list = list.with_context(|| format!("cargo metadata has no {key}"))?;
    Ok(list.iter().map(|item| (text(item, "id"), item)).collect())
}

fn is_member(metadata: &Value, id: &str) -> bool {
    let members = metadata.get("workspace_members").and_then(Value::as_array);
    members.is_some_and(|members| members.iter().any(|member| member == id))
}

/// What is linked or run at build time; what only tests use is not.
fn needs<'a>(node: Option<&&'a Value>) -> Vec<&'a str> {
    let deps = node
        .and_then(|node| node.get("deps"))
        .and_then(Value::as_array);
    let is_real = |dep: &&Value| {
        let kinds = dep.get("dep_kinds").and_then(Value::as_array);
        kinds.is_some_and(|kinds| kinds.iter().any(|kind| text(kind, "kind") != "dev"))
    };
    let mut ids: Vec<&str> = deps
        .into_iter()
        .flatten()
        .filter(is_real)
        .map(|dep| text(dep, "pkg"))
        .collect();
    ids.sort_unstable();
    ids
}

fn reached<'a>(roots: &[&'a str], nodes: &BTreeMap<&'a str, &'a Value>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open = roots.to_vec();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(needs(nodes.get(id)));
        }
    }
    reached
}

fn purl(package: &Value) -> String {
    format!(
        "pkg:cargo/{}@{}",
        text(package, "name"),
        text(package, "version")
    )
}

fn component(package: &Value, kind: &str, checksums: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(package),
        "name": name,
        "version": version,
        "purl": purl(package),
    });
    let fields = component.as_object_mut();
    if let Some(fields) = fields {
        let licence = text(package, "license").replace('/', " OR ");
        if !licence.is_empty() {
            fields.insert("licenses".to_owned(), json!([{ "expression": licence }]));
        }
        if let Some(sum) = checksums.get(&(name.to_owned(), version.to_owned())) {
            let hashes = json!([{ "alg": "SHA-256", "content": sum }]);
            fields.insert("hashes".to_owned(), hashes);
        }
    }
    component
}

/// Checksums of `Cargo.lock` by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.strip_prefix(" = ")?.trim_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            let key = (value(block, "name")?, value(block, "version")?);
            Some((key, value(block, "checksum")?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> String {
        let package = |id: &str, licence: &str| json!({ "id": id, "name": id, "version": "1.0.0", "license": licence });
        let dep = |id: &str, kind: Value| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] });
        json!({
            "workspace_members": ["gateway", "child"],
            "packages": [package("gateway", "MIT"), package("linked", "MIT/Apache-2.0"),
                package("below", "ISC"), package("builder", "MIT"), package("tester", "MIT"),
                package("child", "MIT"), package("its-own", "MIT")],
            "resolve": { "nodes": [
                { "id": "gateway", "deps": [dep("linked", Value::Null), dep("builder", "build".into()), dep("tester", "dev".into())] },
                { "id": "linked", "deps": [dep("below", Value::Null)] },
                { "id": "child", "deps": [dep("its-own", Value::Null)] }, { "id": "its-own", "deps": [] },
                { "id": "below", "deps": [] }, { "id": "builder", "deps": [] }, { "id": "tester", "deps": [] },
            ] },
        })
        .to_string()
    }

    #[test]
    fn what_is_linked_or_builds_is_named_and_what_tests_is_not() {
        let lock = "[[package]]\nname = \"below\"\nversion = \"1.0.0\"\nchecksum = \"ab12\"\n";
        let bill = bill(&["gateway"], &metadata(), lock).unwrap();
        let names: Vec<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["below", "builder", "linked"]);
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "ab12");
        assert_eq!(
            bill["components"][2]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        let of = |name: &str| {
            let all = bill["dependencies"].as_array().unwrap();
            let purl = format!("pkg:cargo/{name}@1.0.0");
            all.iter().find(|d| d["ref"] == purl).unwrap()["dependsOn"].clone()
        };
        assert_eq!(of("linked"), json!(["pkg:cargo/below@1.0.0"]));
    }

    #[test]
    fn what_a_program_brings_along_is_in_its_bill() {
        let bill = bill(&["gateway", "child"], &metadata(), "").unwrap();
        let names: Vec<String> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| {
                format!(
                    "{} {}",
                    c["type"].as_str().unwrap(),
                    c["name"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(bill["metadata"]["component"]["name"], "gateway");
        assert!(names.contains(&"application child".to_owned()), "{names:?}");
        assert!(names.contains(&"library its-own".to_owned()), "{names:?}");
    }

    #[test]
    fn a_package_that_is_not_there_is_named() {
        let error = bill(&["nobody"], &metadata(), "").unwrap_err().to_string();
        assert!(error.contains("nobody"), "{error}");
    }
}
