//! A running sensor in a terminal: `apitap top`.
//!
//! | file | owns |
//! | --- | --- |
//! | `ask` | the question to the sensor, and what is wrong with an answer |
//! | `draw` | what is shown where, on a screen of any size |
//! | `words` | numbers in few letters, and text from outside that a terminal may have |
//! | `terminal` | keys, signals, and the terminal as it was afterwards |
//!
//! It knows of the sensor what its [`Status`] says, and nothing else: it runs as any user who can reach the address at which `watch`
//! listens.

mod ask;
mod draw;
mod terminal;
mod words;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::metrics::Status;

pub use ask::{Address, Trouble};
pub use draw::Screen;
pub use terminal::run;

/// Asks once, for lists of so many clients.
///
/// # Errors
///
/// Nobody who answers, or whose answer is no status.
pub fn ask(address: &Address, clients: usize) -> Result<Status, Trouble> {
    ask::status(address, clients)
}

/// Letters of a line of the terminal, if there is one.
pub fn width() -> Option<u16> {
    ratatui::crossterm::terminal::size().ok().map(|(width, _)| width).filter(|&width| width > 0)
}

/// One picture as lines of plain text, `width` letters wide and as high as it takes to show all of it.
pub fn text(screen: &Screen, width: u16) -> String {
    let area = Rect::new(0, 0, width.max(1), screen.height());
    let mut buffer = Buffer::empty(area);
    screen.draw(area, &mut buffer);
    let mut text = String::new();
    for line in buffer.content().chunks(usize::from(area.width)) {
        let letters: String = line.iter().map(|cell| cell.symbol()).collect();
        text.push_str(letters.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// A status as JSON, one line, in which nothing is left that a terminal would obey.
pub fn json(status: &Status) -> serde_json::Result<String> {
    Ok(words::escaped(&serde_json::to_string(status)?))
}
