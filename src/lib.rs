//! doorward: a face at the camera becomes a decision on MQTT.
//!
//! The rooms, each using only those before it: `kernels`, `image`, `inference`, `face`,
//! `gallery`, `decision`, `pipeline`. At the edges stand `camera`, `store`, `mqtt`; they know the
//! core's types and never each other. `config`, `daemon` and `cli` put them together.
//! `ARCHITECTURE.md` shows the way of the data.

pub mod config;
pub mod event;
pub mod face;
pub mod gallery;
pub mod image;
pub mod store;
pub mod mqtt;
