//! A cursor over the bytes of one record. Every length is checked before it is used.

/// The position in a body. A method returns `None` for bytes that are not a valid encoding.
pub struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

/// The header of an array's or a map's block.
pub struct Block {
    /// Number of items.
    pub count: u64,
    /// Offset after the block, if the writer gave its size.
    pub end: Option<usize>,
}

impl<'a> Reader<'a> {
    /// Read a body from its first byte.
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// Return whether all bytes have been read.
    pub fn is_at_end(&self) -> bool {
        self.at == self.body.len()
    }

    /// Return whether the offset is the one that a block's header gives.
    pub fn is_at(&self, end: Option<usize>) -> bool {
        end.is_none_or(|end| end == self.at)
    }

    /// Read one byte.
    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        let byte = *self.body.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Read a number of bytes.
    #[inline]
    pub fn take(&mut self, size: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(size)?;
        let found = self.body.get(self.at..end)?;
        self.at = end;
        Some(found)
    }

    /// Read a boolean, which is 0 or 1.
    #[inline]
    pub fn boolean(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Read an int, of at most 32 bits in at most five bytes.
    #[inline]
    pub fn int(&mut self) -> Option<i64> {
        self.integer(5, 32)
    }

    /// Read a long, of at most 64 bits in at most ten bytes.
    #[inline]
    pub fn long(&mut self) -> Option<i64> {
        self.integer(10, 64)
    }

    /// Read bytes that follow their length.
    #[inline]
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let size = usize::try_from(self.long()?).ok()?;
        self.take(size)
    }

    /// Read the index of a symbol or a branch, which must exist.
    #[inline]
    pub fn index(&mut self, choices: usize) -> Option<usize> {
        let index = usize::try_from(self.int()?).ok()?;
        (index < choices).then_some(index)
    }

    /// Read the header of a block. A block of more items than bytes are left is refused: an item takes at least one.
    pub fn block(&mut self) -> Option<Block> {
        let count = self.long()?;
        let mut end = None;
        // A negative count means that the block's size in bytes follows.
        if count < 0 {
            let size = usize::try_from(self.long()?).ok()?;
            end = Some(self.at.checked_add(size)?);
        }
        let left = self.body.len() - self.at;
        let count = count.unsigned_abs();
        let fits = count <= left as u64 && end.is_none_or(|end| end <= self.body.len());
        fits.then_some(Block { count, end })
    }

    /// Read a number in zigzag encoding. Redundant bytes are accepted, but only up to the longest valid encoding.
    #[inline]
    fn integer(&mut self, max_bytes: u32, bits: u32) -> Option<i64> {
        let first = self.byte()?;
        if first < 128 {
            return Some(unzigzag(u64::from(first)));
        }
        let mut zigzag = u64::from(first & 127);
        for place in 1..max_bytes {
            let byte = self.byte()?;
            let part = u64::from(byte & 127);
            let shift = 7 * place;
            if shift + 7 > bits && part >> (bits - shift) != 0 {
                return None;
            }
            zigzag |= part << shift;
            if byte < 128 {
                return Some(unzigzag(zigzag));
            }
        }
        None
    }
}

fn unzigzag(zigzag: u64) -> i64 {
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(bytes: &[u8]) -> Option<i64> {
        Reader::new(bytes).long()
    }

    #[test]
    fn the_bounds_of_a_long_are_read() {
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(Some(i64::MIN), long(&most));
        most[0] = 0xfe;
        assert_eq!(Some(i64::MAX), long(&most));
    }

    #[test]
    fn a_number_of_too_many_bits_or_bytes_is_refused() {
        let mut wide = [0xff; 10];
        wide[9] = 2;
        assert_eq!(None, long(&wide));
        assert_eq!(None, long(&[0x80; 11]));
        assert_eq!(None, Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).int());
        assert_eq!(None, Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).int());
    }

    #[test]
    fn redundant_bytes_of_a_number_are_accepted() {
        assert_eq!(Some(1), Reader::new(&[0x82, 0x80, 0x80, 0x80, 0]).int());
    }

    #[test]
    fn a_length_beyond_the_end_or_below_zero_is_refused() {
        assert_eq!(None, Reader::new(&[4, b'a']).bytes());
        assert_eq!(None, Reader::new(&[1, b'a']).bytes());
        let mut most = vec![0xfe; 1];
        most.extend([0xff; 8]);
        most.push(1);
        assert_eq!(None, Reader::new(&most).bytes());
    }

    #[test]
    fn a_block_of_more_items_than_bytes_are_left_is_refused() {
        assert!(Reader::new(&[4, 0]).block().is_none());
        assert!(Reader::new(&[3, 4, 0]).block().is_none());
        assert!(Reader::new(&[3, 4, 0, 0]).block().is_some());
    }
}
