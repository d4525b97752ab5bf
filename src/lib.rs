//! doorward: a face at the camera becomes a decision on MQTT.
//!
//! The rooms, each using only those before it: `kernels`, `image`, `inference`, `face`, `gallery`,
//! `decision`, `pipeline`, `challenge`, `access`. At the edges stand `camera`, `store`, `mqtt`,
//! `door`; they know the core's types and never each other. `command` is what the owner may tell a
//! device, `enrolment` what makes faces into templates, `subject` what people may be called. `config`, `setup`, `daemon` and `cli` put
//! them together.
//! `ARCHITECTURE.md` shows the way of the data.

pub mod access;
pub mod camera;
pub mod challenge;
pub mod cli;
pub mod command;
pub mod config;
pub mod daemon;
pub mod decision;
pub mod door;
pub mod enrolment;
pub mod event;
pub mod face;
pub mod gallery;
pub mod image;
pub mod inference;
pub mod kernels;
pub mod mqtt;
pub mod pipeline;
pub mod setup;
pub mod store;
pub mod subject;
