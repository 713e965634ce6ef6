//! The terminal: pictures on it, keys from it, and as it was afterwards.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{Address, Screen, Trouble};
use crate::metrics::Status;

/// How long a signal, or an answer, may wait for a key.
const TURN: Duration = Duration::from_millis(100);

/// Rows that a page has.
const PAGE: isize = 10;

/// Gives the terminal back as it was, however this ends: a panic first does the same by the hook that ratatui sets.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = ratatui::try_restore(); // a terminal that is gone needs none
    }
}

/// Shows a sensor until a key or a signal ends it, asked each `interval` for lists of so many clients.
///
/// # Errors
///
/// A terminal that cannot be had or is gone.
pub fn run(address: Address, clients: usize, interval: Duration) -> io::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    heed_signals(stop.clone())?;
    let answers = keep_asking(address.clone(), clients, interval)?;
    let mut screen = Screen::new(address).interactive();
    let _restored = Restored;
    let mut terminal = ratatui::try_init()?;
    loop {
        match answers.try_recv() {
            Ok(answer) => screen.take(answer),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(io::Error::other("the thread that asks has ended")),
        }
        terminal.draw(|frame| screen.draw(frame.area(), frame.buffer_mut()))?;
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        while event::poll(TURN)? {
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && !press(&mut screen, key)
            {
                return Ok(());
            }
            if !event::poll(Duration::ZERO)? {
                break; // all that was pressed is heeded: it is drawn
            }
        }
    }
}

/// Heeds a key; false for one that ends it.
fn press(screen: &mut Screen, key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => return false,
        KeyCode::Char('c' | 'd') if control => return false,
        KeyCode::Tab => screen.choose(1),
        KeyCode::BackTab => screen.choose(-1),
        KeyCode::Right => screen.sort(1),
        KeyCode::Left => screen.sort(-1),
        KeyCode::Down => screen.scroll(1),
        KeyCode::Up => screen.scroll(-1),
        KeyCode::PageDown => screen.scroll(PAGE),
        KeyCode::PageUp => screen.scroll(-PAGE),
        KeyCode::Home => screen.scroll(isize::MIN),
        _ => {}
    }
    true
}

/// Asks on a thread of its own, so that a sensor that does not answer holds up no key. It ends when nobody listens any more.
fn keep_asking(address: Address, clients: usize, interval: Duration) -> io::Result<Receiver<Result<Status, Trouble>>> {
    let (tell, answers) = sync_channel(1);
    thread::Builder::new().name("ask".into()).spawn(move || {
        while tell.send(super::ask(&address, clients)).is_ok() {
            thread::sleep(interval);
        }
    })?;
    Ok(answers)
}

/// SIGINT, SIGTERM and SIGHUP end it as a key does.
fn heed_signals(stop: Arc<AtomicBool>) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
    };
    let [mut interrupt, mut terminate, mut hangup] = match signals {
        [Ok(interrupt), Ok(terminate), Ok(hangup)] => [interrupt, terminate, hangup],
        [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => return Err(error),
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                stop.store(true, Ordering::Relaxed);
            }
        });
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_the_help_says() {
        let mut screen = Screen::new("127.0.0.1:1".parse().expect("an address")).interactive();
        let mut key = |code, modifiers| press(&mut screen, KeyEvent::new(code, modifiers));
        for code in [KeyCode::Tab, KeyCode::Left, KeyCode::Down, KeyCode::Home, KeyCode::Char('x'), KeyCode::Char('c')]
        {
            assert!(key(code, KeyModifiers::NONE), "{code:?}");
        }
        assert!(!key(KeyCode::Char('q'), KeyModifiers::NONE) && !key(KeyCode::Char('c'), KeyModifiers::CONTROL));
    }
}
