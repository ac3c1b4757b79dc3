//! `ringfort-trace-check FILE…`: checks traces of JSON lines; exits with 1 if a property is broken.

use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: ringfort-trace-check FILE…   (each a trace of JSON lines, see docs/traces.md)");
        return ExitCode::from(2);
    }
    let mut text = String::new();
    for file in &files {
        match std::fs::read_to_string(file) {
            Ok(more) => text.extend([more.as_str(), "\n"]),
            Err(error) => {
                eprintln!("{file}: {error}");
                return ExitCode::from(2);
            }
        }
    }
    let records = match ringfort_trace_check::parse(&text) {
        Ok(records) => records,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let report = ringfort_trace_check::check(&records);
    for (property, looked) in &report.looked {
        let broken = report.violations.iter().filter(|violation| violation.property == *property).count();
        println!("{property:>4}  looked {looked:>9} times, broken {broken}");
    }
    for violation in report.violations.iter().take(50) {
        println!("{}: {}", violation.property, violation.text);
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
