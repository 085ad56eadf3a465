//! Scripts: what a program is called that does not say so, and whether a script has this package.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tsdaemonize_core::pidfile::is_name;

/// The extensions of scripts, which need something that runs them.
const EXTENSIONS: [&str; 6] = ["js", "mjs", "cjs", "ts", "mts", "cts"];
/// Names that many programs have.
const COMMON: [&str; 2] = ["index", "main"];
/// What this package is called.
const SELF: &str = "tsdaemonize";

/// Whether a path is that of a script, by its name.
pub fn is_script(path: &Path) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|found| EXTENSIONS.contains(&found))
}

/// The name of a daemon whose program does not give one, as `defaultName` in ts/program/name.ts: that of its file, its
/// package or its directory.
pub fn default_name(file: &Path) -> String {
    let stem = file.file_stem().and_then(OsStr::to_str).map(str::to_owned);
    let is_common = stem.as_deref().is_some_and(|stem| COMMON.contains(&stem));
    let of_package = if is_common { package_name(file) } else { None };
    let mut candidates = of_package.into_iter().chain(stem);
    candidates.find(|name| is_name(name)).unwrap_or_else(|| "daemon".to_owned())
}

/// The name of the package that a file belongs to, without its scope; else of its directory.
fn package_name(file: &Path) -> Option<String> {
    let file = fs::canonicalize(file).ok()?;
    let found = package_of(&file);
    if let Some(name) = found.as_ref().and_then(|(_, json)| json["name"].as_str()) {
        return name.rsplit('/').next().map(str::to_owned);
    }
    let dir = found.map(|(dir, _)| dir).or_else(|| file.parent().map(Path::to_owned))?;
    dir.file_name()?.to_str().map(str::to_owned)
}

/// The nearest package.json above a file, and its directory. One that only tells Node how to read the files beside it
/// gives way to one that names a package.
fn package_of(file: &Path) -> Option<(PathBuf, Value)> {
    let mut marker = None;
    for dir in file.ancestors().skip(1) {
        let Some(json) = package_in(dir) else { continue };
        let is_marker = json.as_object().is_none_or(|keys| keys.keys().all(|key| key == "type"));
        let found = (dir.to_owned(), json);
        if !is_marker {
            return if found.1["name"].is_string() { Some(found) } else { marker.or(Some(found)) };
        }
        marker.get_or_insert(found);
    }
    marker
}

fn package_in(dir: &Path) -> Option<Value> {
    serde_json::from_slice(&fs::read(dir.join("package.json")).ok()?).ok()
}

/// Whether a script can import this package from where it really is: from a `node_modules` above it, from its own
/// package, or by Yarn's Plug'n'Play.
pub fn has_library(script: &Path) -> bool {
    let Ok(script) = fs::canonicalize(script) else { return false };
    let installed = |dir: &Path| dir.join("node_modules").join(SELF).join("package.json").exists();
    let dirs = || script.ancestors().skip(1);
    // A package can import itself by its name from the files whose nearest package.json is its own.
    let own = dirs().find_map(package_in).is_some_and(|json| json["name"] == SELF);
    own || dirs().any(installed)
        || dirs().find_map(plug_and_play).is_some_and(|found| names_self(&found))
}

/// The map of Plug'n'Play that counts for the files of a directory.
fn plug_and_play(dir: &Path) -> Option<Vec<u8>> {
    [".pnp.data.json", ".pnp.cjs"].iter().find_map(|name| fs::read(dir.join(name)).ok())
}

fn names_self(map: &[u8]) -> bool {
    let wanted = format!("\"{SELF}\"");
    map.windows(wanted.len()).any(|part| part == wanted.as_bytes())
}
