//! Fields of a body, by keyed hashes of the names that lead to them.

use crate::call::{BodyShape, Within};
use crate::endpoint::HashKey;

/// Tells the fields of a body, whose places are the first so many, by their hashes and last names: the items of a list are one, and
/// so are the entries of a map. Gives how many fields there are beyond.
pub(super) fn fields<'s>(shape: &'s BodyShape, key: &HashKey, most: usize, mut tell: impl FnMut(u64, &'s str)) -> u64 {
    let mut places = shape.places();
    let mut paths: Vec<u64> = Vec::with_capacity(most.min(16));
    for place in places.by_ref().take(most) {
        let above = paths.get(place.parent).copied().unwrap_or_default();
        match place.within {
            Within::Field(name) => {
                let field = key.pair(above, key.hash(&[name.as_bytes()]));
                paths.push(field);
                tell(field, name);
            }
            _ => paths.push(if place.number == 0 { 0 } else { key.pair(above, 1) }),
        }
    }
    places.filter(|place| matches!(place.within, Within::Field(_))).count() as u64
}
