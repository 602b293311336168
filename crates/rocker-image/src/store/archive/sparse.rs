//! Which parts of a sparse file have bytes.

/// A run of bytes that the archive holds; between runs are holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where the run begins in the file.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

/// Checks a map against the file it describes: runs in order, apart, inside the file, and
/// together exactly the bytes that the archive holds.
pub(super) fn check_map(
    pairs: &[(u64, u64)],
    real_size: u64,
    stored: u64,
) -> Result<Vec<Extent>, &'static str> {
    let (mut end, mut total) = (0u64, 0u64);
    let mut extents = Vec::with_capacity(pairs.len());
    for (offset, length) in pairs.iter().copied() {
        if offset < end {
            return Err("runs overlap or are out of order");
        }
        end = offset
            .checked_add(length)
            .ok_or("a run is beyond any file")?;
        if end > real_size {
            return Err("a run is beyond the end of the file");
        }
        total += length;
        // GNU tar ends a map with an empty run at the end of the file.
        if length > 0 {
            extents.push(Extent { offset, length });
        }
    }
    if total != stored {
        return Err("the runs are not as long as the data");
    }
    Ok(extents)
}

/// Pairs up format 0.x's list of numbers.
pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<(u64, u64)>, &'static str> {
    if !numbers.len().is_multiple_of(2) {
        return Err("an offset has no size");
    }
    Ok(numbers
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Map<'a> = &'a [(u64, u64)];

    #[test]
    fn a_map_must_be_ordered_inside_and_complete() {
        let cases: [(Map, u64, u64, bool); 8] = [
            (&[], 1 << 40, 0, true),
            (&[(0, 5), (10, 5)], 15, 10, true),
            (&[(0, 5), (5, 5), (20, 0)], 20, 10, true),
            (&[(0, 5), (4, 5)], 15, 10, false),
            (&[(10, 5), (0, 5)], 15, 10, false),
            (&[(0, 5)], 4, 5, false),
            (&[(0, 5)], 15, 6, false),
            (&[(u64::MAX, 2)], u64::MAX, 2, false),
        ];
        for (map, real_size, stored, good) in cases {
            assert_eq!(
                check_map(map, real_size, stored).is_ok(),
                good,
                "{map:?} {real_size} {stored}"
            );
        }
    }
}
