//! Writes the seeds of a target into a folder, each under the digest of its content.

use std::path::Path;

use anyhow::{Context, Result, bail};
use ringfort_fuzz_targets::{TARGETS, seeds, target};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(name), Some(folder)) = (args.next(), args.next()) else {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("usage: fuzz-seeds TARGET FOLDER; the targets are {}", names.join(", "));
    };
    target(&name).with_context(|| format!("there is no target {name}"))?;
    std::fs::create_dir_all(&folder).with_context(|| format!("making {folder}"))?;
    for seed in seeds(&name) {
        let digest = ringfort_crypto::hash::digest("ringfort fuzz seed", &[&seed]);
        let file: String = digest.iter().take(10).map(|b| format!("{b:02x}")).collect();
        let path = Path::new(&folder).join(file);
        std::fs::write(&path, &seed).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
