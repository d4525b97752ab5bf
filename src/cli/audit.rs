//! `doorward audit`: the events that the device remembers.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

use super::{Context, verdict};
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the newest events.
    List {
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: u32,
    },
    /// Tell whether a line was removed, changed or moved; exit status 1 if so.
    Verify,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let store = context.store()?;
    match args.action {
        Action::List { last } => list(&store, last, context),
        Action::Verify => verify(&store, context),
    }
}

fn list(store: &Store, last: u32, context: &Context) -> Result<ExitCode> {
    let mut events = store.recent(last)?;
    events.reverse();
    context.answer(&json!(events), || {
        let lines = events.iter().map(|event| {
            format!(
                "{} {} {} {} {} {}",
                event.seq,
                event.ts,
                event.event_type.word(),
                event.decision.word(),
                event.subject_id.as_deref().unwrap_or("-"),
                event.reason
            )
        });
        if events.is_empty() {
            return "nothing has happened yet".to_owned();
        }
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn verify(store: &Store, context: &Context) -> Result<ExitCode> {
    let audit = store.verify_audit()?;
    let breaks: Vec<_> = audit.breaks.iter().map(ToString::to_string).collect();
    let answer = json!({
        "whole": audit.is_whole(),
        "lines": audit.lines,
        "first": audit.span.map(|(first, _)| first),
        "last": audit.span.map(|(_, last)| last),
        "breaks": breaks,
        "further_breaks": audit.more,
    });
    context.answer(&answer, || {
        let span = match audit.span {
            Some((first, last)) => format!("{} lines, {first} to {last}", audit.lines),
            None => "no lines".to_owned(),
        };
        if audit.is_whole() {
            return format!("the audit trail is whole: {span}");
        }
        let mut words = format!("the audit trail is broken: {span}");
        breaks
            .iter()
            .for_each(|found| words += &format!("\n{found}"));
        if audit.more > 0 {
            words += &format!("\nand {} further breaks", audit.more);
        }
        words
    })?;
    Ok(verdict(audit.is_whole()))
}
