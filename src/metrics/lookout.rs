//! Looks at how clients stand while somebody asks, in a small part of the detector's time.

use std::time::{Duration, Instant};

use super::{Board, CLIENTS, PERIOD};
use crate::detect::Detector;
use crate::detect::survey::Survey;

/// One in how much of the detector's time may be used.
const SHARE: u32 = 20;

/// Entries of its tables that are looked at between two looks at the clock: some ten microseconds.
const PART: usize = 128;

/// Below that it is not worth the while to begin.
const LEAST: Duration = Duration::from_micros(100);

/// Goes through the detector's tables by and by, once a second at most.
#[derive(Debug)]
pub struct Lookout {
    survey: Option<Survey>,
    /// When the last step ended.
    last: Instant,
    /// Before then nothing is begun.
    due: Instant,
}

impl Default for Lookout {
    fn default() -> Self {
        let now = Instant::now();
        Lookout { survey: None, last: now.checked_sub(PERIOD).unwrap_or(now), due: now }
    }
}

impl Lookout {
    /// Goes on for a twentieth of the time since it last did, and tells the board when it is through. It costs next to
    /// nothing when nobody asks.
    pub fn step(&mut self, board: &Board, detector: &Detector) {
        if !board.is_asked() {
            self.survey = None;
            return;
        }
        let begin = Instant::now();
        let allowed = begin.saturating_duration_since(self.last).min(PERIOD) / SHARE;
        if allowed < LEAST {
            return;
        }
        if self.survey.is_none() {
            if begin < self.due {
                return;
            }
            self.survey = Some(Survey::new(CLIENTS));
            self.due = begin + PERIOD;
        }
        while let Some(survey) = &mut self.survey {
            if let Some(standings) = survey.advance(detector, PART) {
                board.tell_standings(standings);
                self.survey = None;
            }
            if begin.elapsed() >= allowed {
                break;
            }
        }
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::{DetectRules, Settings};

    #[test]
    fn nothing_is_looked_at_unless_somebody_asks() {
        let board = Board::default();
        let detector = Detector::new(Settings::default(), DetectRules::default(), |call| Some(call.client.ip));
        let mut lookout = Lookout::default();
        lookout.step(&board, &detector);
        assert!(!board.is_asked() && board.standings().is_none());
        board.ask();
        lookout.step(&board, &detector);
        let (first, standings) = board.standings().expect("it was asked for");
        assert_eq!((standings.known, standings.window_seconds), (0, 60));
        std::thread::sleep(LEAST * SHARE);
        lookout.step(&board, &detector);
        assert_eq!(board.standings().expect("it is there").0, first, "once a second at most");
    }
}
