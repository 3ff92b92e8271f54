//! Which rows a query may look at.

/// For each of n queries, the same number of slots, each a row or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    slots: usize,
    rows: Vec<u32>,
}

/// What stands in a slot without a link.
const NOTHING: u32 = u32::MAX;

impl Links {
    /// Of the given number of slots each, from a function of query and slot.
    pub fn new(queries: usize, slots: usize, mut row: impl FnMut(usize, usize) -> Option<usize>) -> Self {
        let mut rows = Vec::with_capacity(queries * slots);
        for query in 0..queries {
            for slot in 0..slots {
                // A row number beyond 32 bits would be a frame of four thousand million pixels.
                rows.push(row(query, slot).and_then(|row| u32::try_from(row).ok()).unwrap_or(NOTHING));
            }
        }
        Self { slots, rows }
    }

    /// Slots of a query.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The slots of one query; see [`Links::row`].
    pub fn of(&self, query: usize) -> &[u32] {
        &self.rows[query * self.slots..(query + 1) * self.slots]
    }

    /// The row that a slot leads to.
    #[inline]
    pub fn row(slot: u32) -> Option<usize> {
        (slot != NOTHING).then_some(slot as usize)
    }
}

/// From each place to itself in the last `frames` frames. Row `s P + p` is place p at age `s + 1`; slot s is that age.
pub fn time_links(pixels: usize, frames: usize) -> Links {
    Links::new(pixels, frames, |place, slot| Some(slot * pixels + place))
}

/// From each place to its 3 x 3 neighbourhood in the last `frames` frames, nothing beyond the border. Rows as in
/// [`time_links`]; slot `9 s + 3 i + j` is age `s + 1`, row `i - 1` and column `j - 1` from here.
pub fn neighbourhood_links([h, w]: [usize; 2], frames: usize) -> Links {
    Links::new(h * w, 9 * frames, |place, slot| {
        let (row, column) = (place / w, place % w);
        let i = (row + slot % 9 / 3).checked_sub(1).filter(|&i| i < h)?;
        let j = (column + slot % 3).checked_sub(1).filter(|&j| j < w)?;
        Some(slot / 9 * h * w + i * w + j)
    })
}
