//! What an hour usually has, by the time of day where the data shows one.

use serde::{Deserialize, Serialize};

use super::Moments;

/// Hours of a day.
const HOURS: usize = 24;

/// Hours that have to be known before a time of day can show: three days.
const KNOWN: f64 = 3.0 * HOURS as f64;

/// Part of the variance that the time of day has to explain.
const SHOWS: f64 = 0.5;

/// Counts of the hours that are over: mean, variance and the highest, of all hours and of each hour of the day.
///
/// The time of day shows when it explains half of the variance (the share of the variance between the hours' means, as in
/// an analysis of variance); then an hour is compared with the same hour of other days and the two beside it, else with all
/// hours. Hours are those of UTC: where the day begins does not matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    all: Slot,
    hours: [Slot; HOURS],
}

/// What hours of one sort had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slot {
    /// Mean and variance of the counts.
    pub moments: Moments,
    /// The highest of them.
    pub highest: f64,
}

impl Slot {
    fn enter(&mut self, count: f64) {
        self.moments.enter(count);
        self.highest = self.highest.max(count);
    }

    fn merge(&mut self, other: &Slot) {
        self.moments.merge(&other.moments);
        self.highest = self.highest.max(other.highest);
    }
}

impl Profile {
    /// The count of an hour that is over; hours are counted from the epoch.
    pub fn enter(&mut self, hour: i64, count: f64) {
        self.all.enter(count);
        self.hours[slot(hour)].enter(count);
    }

    /// What an hour like this one usually has.
    pub fn at(&self, hour: i64) -> Slot {
        if !self.shows() {
            return self.all;
        }
        let mut near = Slot::default();
        for beside in hour - 1..=hour + 1 {
            near.merge(&self.hours[slot(beside)]);
        }
        near
    }

    /// The highest count of all.
    pub fn highest(&self) -> f64 {
        self.all.highest
    }

    /// Whether the time of day matters.
    pub fn shows(&self) -> bool {
        let (all, total) = (self.all.moments, self.all.moments.variance());
        if all.count() < KNOWN || total <= 0.0 {
            return false;
        }
        let between = self.hours.iter().map(|hour| hour.moments.count() * (hour.moments.mean() - all.mean()).powi(2));
        between.sum::<f64>() / all.count() >= SHOWS * total
    }
}

/// Where an hour lies in the day: always below [`HOURS`], as the remainder of a division that is never negative.
fn slot(hour: i64) -> usize {
    hour.rem_euclid(HOURS as i64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    /// Five days of counts.
    fn profile(mut count: impl FnMut(i64) -> f64) -> Profile {
        let mut profile = Profile::default();
        for hour in 0..120 {
            profile.enter(hour, count(hour));
        }
        profile
    }

    #[test]
    fn nights_are_compared_with_nights() {
        let mut random = StdRng::seed_from_u64(3);
        let people =
            profile(|hour| if (8..18).contains(&(hour % 24)) { 40.0 } else { 2.0 } + random.random_range(0.0..4.0));
        assert!(people.shows());
        assert!(people.at(24 * 9 + 3).highest < 7.0 && people.at(24 * 9 + 12).moments.mean() > 38.0);
        assert!(people.highest() >= 40.0);
    }

    #[test]
    fn what_knows_no_time_of_day_is_compared_with_all() {
        let mut random = StdRng::seed_from_u64(4);
        let machine = profile(|_| random.random_range(0.0..10.0));
        assert!(!machine.shows());
        assert_eq!(machine.at(3), machine.at(12));
        let young = (0..48).fold(Profile::default(), |mut profile, hour| {
            profile.enter(hour, if hour % 24 < 8 { 0.0 } else { 50.0 });
            profile
        });
        assert!(!young.shows(), "two days are too few");
    }
}
