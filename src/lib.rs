//! apitap listens to a copy of API traffic and says, in JSON, which client is mapping the APIs, draining data out of
//! them, or flooding them. It never sends a packet.
//!
//! The modules are the stages of one pipeline. Each hands the next exactly one type:
//!
//! | stage | takes → gives |
//! | --- | --- |
//! | [`source`] | file, standard input, interface → [`source::Frame`] |
//! | [`packet`] | frame → [`packet::Segment`]: links, tags, tunnels, fragments undone |
//! | [`stream`] | segment → byte runs in order, and explicit gaps, per direction |
//! | [`tls`] | byte runs of TLS → who speaks with whom, and with keys the byte runs in clear |
//! | [`http`] | byte runs → [`call::Record`]: calls, and now and then a connection |
//! | [`records`] | lines of logs, and of records printed before → [`call::Record`] |
//! | [`inspect`] | body, header and target bytes → a small digest on the call |
//! | [`client`], [`endpoint`] | call → who called what |
//! | [`model`] | observations → expected against observed |
//! | [`detect`] | calls → evidence |
//! | [`checkpoint`] | what was learned → the next run |
//! | [`inventory`] | calls → the APIs that there are |
//! | [`practice`] | calls → what is not as it should be |
//! | [`export`] | a selection of calls → other tools |
//! | [`alert`] | evidence → alert |
//! | [`sink`] | alert → whoever reads them |
//! | [`evidence`] | frames, and alerts about them → the packets of incidents, in files |
//!
//! [`call::Record`] is the seam: before it nothing knows policy, behind it nothing knows packets. [`pipeline`] wires
//! the stages to threads and is the only place that knows how many there are. Time is always the traffic's
//! ([`time`]), and whatever is lost is counted by name ([`stats`]);
//! [`metrics`] shows it while it runs, and [`top`] draws that in a terminal. [`doctor`] looks at what a sensor needs of its machine.

pub mod alert;
pub mod call;
pub mod checkpoint;
pub mod cli;
pub mod client;
pub mod confinement;
pub mod detect;
pub mod doctor;
pub mod endpoint;
pub mod evidence;
pub mod export;
mod glob;
pub mod http;
mod idle;
pub mod inspect;
pub mod inventory;
pub mod key;
mod lanes;
pub mod metrics;
pub mod model;
mod network;
pub mod packet;
pub mod pipeline;
pub mod practice;
pub mod records;
pub mod rules;
pub mod settings;
pub mod sink;
pub mod source;
mod stamp;
pub mod stats;
pub mod stream;
pub mod time;
pub mod tls;
pub mod top;
