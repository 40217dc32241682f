//! Load generator and origin of `make bench`. One thread each, so that on a small machine they leave room for what is measured.
//!
//! ```text
//! hawse-bench-loader origin 127.0.0.1:3000
//! hawse-bench-loader load ADDRESS HOST PATH CONNECTIONS SECONDS LENGTH keep|new [CA.pem]
//! ```
//!
//! `load` prints one JSON object: requests answered and failed, seconds, percentiles. An answer counts only with status
//! 200 and exactly LENGTH bytes of body; everything else is a failure. Called by tests/bench/loader.py.

mod client;
mod origin;
mod stats;

use std::error::Error;
use std::process::ExitCode;

const USAGE: &str = "usage: hawse-bench-loader origin ADDRESS\n       hawse-bench-loader load ADDRESS HOST PATH CONNECTIONS SECONDS LENGTH keep|new [CA.pem]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hawse-bench-loader: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["origin", address] => runtime.block_on(origin::serve(address.parse()?)),
        ["load", rest @ ..] => {
            let plan = client::Plan::parse(rest).ok_or(USAGE)??;
            let tally = tokio::task::LocalSet::new().block_on(&runtime, client::load(plan))?;
            println!("{}", tally.json());
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}
