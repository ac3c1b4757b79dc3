//! Measures Ringfort, each figure beside its floor from the same run: the bare operations that the
//! step cannot avoid, done on the same machine at the same time. A ratio says more than a time.
//!
//! Four parts: single operations of the threshold key ([`operations`]), whole changes of membership in one
//! process without a network ([`changes`]), messages over real loopback links ([`messages`]), and a file over them ([`files`]).
//! Sites, whose groups have no leaders, are measured by themselves ([`peer`]), and so are the order among leaders
//! ([`agreement`]) and the services that stand on it ([`services`]).

pub mod agreement;
mod bed;
pub mod changes;
pub mod files;
pub mod floor;
mod led;
pub mod messages;
pub mod operations;
pub mod peer;
mod program;
mod row;
pub mod services;

pub use row::{Options, Report, Row};

/// Why a measurement could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A group could not be set up or joined.
    #[error("the measurement could not be set up: {0}")]
    Setup(String),
    /// Messages did not arrive.
    #[error("messages did not arrive in time: {0}")]
    Lost(String),
}

fn setup(error: impl std::fmt::Display) -> BenchError {
    BenchError::Setup(error.to_string())
}

fn lost(error: impl std::fmt::Display) -> BenchError {
    BenchError::Lost(error.to_string())
}

/// Measures everything; `told` is called with each row as it comes.
///
/// # Errors
/// [`BenchError`] if a part could not be measured.
pub async fn run(options: &Options, mut told: impl FnMut(&Row)) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let mut add = |rows: Vec<Row>, report: &mut Report| {
        rows.iter().for_each(&mut told);
        report.rows.extend(rows);
    };
    add(operations::measure(options), &mut report);
    for members in &options.members {
        add(changes::measure(options, *members), &mut report);
    }
    for bytes in [100, 1024, 16 * 1024] {
        add(messages::measure(options, bytes).await?, &mut report);
    }
    add(files::measure(options).await?, &mut report);
    Ok(report)
}
