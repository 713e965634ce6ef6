//! Packets that were tampered with, and noise.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever is done to a packet: no panic, one fate, and a payload that lies within the frame.
    #[test]
    fn mutated_packets(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
        verify in any::<bool>(),
    ) {
        let all = encapsulations();
        let (_, link, mut data, _) = which.get(&all).clone();
        for (place, value) in changes {
            let place = place.index(data.len());
            data[place] = value;
        }
        if is_cut {
            data.truncate(cut.index(data.len()));
        }
        let mut decoder = Stage::new(Settings { verify_checksums: verify, ..Settings::default() });
        let mut counters = Counters::new();
        let seen = decode(&mut decoder, &frame(link, &data, 0), &mut counters);
        if let Some(seen) = &seen {
            prop_assert!(seen.payload.is_empty() || data.windows(seen.payload.len()).any(|part| part == seen.payload));
        }
        let losses = counters.value(Counter::FragmentsDropped) + counters.value(Counter::FragmentsOverlapping);
        // The straight way and the one step by step agree.
        let slow_settings = Settings { verify_checksums: verify, ..Settings::default() };
        let (mut slow, mut slow_counters) = (Stage::new(slow_settings), Counters::new());
        let given = frame(link, &data, 0);
        let bytes = Bytes { captured: &data, missing: 0 };
        let stepwise = slow.decoder.decode_step_by_step(&given, bytes, &mut slow_counters);
        let stepwise = stepwise
            .and_then(|segment| slow.duplicates.admit(&segment, given.time, &mut slow_counters).segment(segment))
            .map(Seen::from);
        prop_assert_eq!(seen, stepwise);
        prop_assert!(counters.nonzero().eq(slow_counters.nonzero()));
        let total: u64 = counters.nonzero().map(|(_, value)| value).sum();
        prop_assert_eq!(total - losses, 1);
    }

    /// Bytes without any sense, of every link type.
    #[test]
    fn noise(link in prop::sample::select(vec![0_u16, 1, 9, 12, 50, 101, 104, 108, 113, 166, 204, 228, 229, 239, 276]),
             data in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut counters = Counters::new();
        let _ = decode(&mut Stage::new(Settings::default()), &frame(link, &data, 0), &mut counters);
    }
}
