//! `cargo bench -p ringfort-bench`: every figure beside its floor from the same run.

use ringfort_bench::{Options, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    let report = runtime.block_on(run(&Options::default(), |row| println!("{row}")))?;
    println!("{} figures", report.rows.len());
    Ok(())
}
