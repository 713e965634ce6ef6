//! Vectors of bytes, by what the processor has: the hot passes over bodies and heads are written once over [`Lanes`].

use wide::{u8x16, u16x8};

/// Runs a pass with the widest vectors there are; `$lanes` names them in it.
macro_rules! with_lanes {
    ($lanes:ident => $pass:expr) => {{
        #[cfg(target_arch = "x86_64")]
        if let Some($lanes) = pulp::x86::V3::try_new() {
            return $lanes.vectorize(
                #[inline(always)]
                || $pass,
            );
        }
        let $lanes = $crate::lanes::Portable;
        $pass
    }};
}
pub(crate) use with_lanes;

/// Vectors of bytes.
pub(crate) trait Lanes: Copy {
    type Vector: Copy;
    const WIDTH: usize;
    /// The first bytes of at least [`Self::WIDTH`].
    fn load(self, bytes: &[u8]) -> Self::Vector;
    fn splat(self, byte: u8) -> Self::Vector;
    /// A table for [`Self::look_up`].
    fn table(self, table: &[u8; 16]) -> Self::Vector;
    fn look_up(self, table: Self::Vector, nibbles: Self::Vector) -> Self::Vector;
    fn low_nibbles(self, bytes: Self::Vector) -> Self::Vector;
    fn high_nibbles(self, bytes: Self::Vector) -> Self::Vector;
    fn minus(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn least(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn equal(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn and(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    fn or(self, one: Self::Vector, other: Self::Vector) -> Self::Vector;
    /// The top bit of each byte.
    fn bits(self, bytes: Self::Vector) -> u64;
}

#[cfg(target_arch = "x86_64")]
impl Lanes for pulp::x86::V3 {
    type Vector = std::arch::x86_64::__m256i;
    const WIDTH: usize = 32;

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Self::Vector {
        pulp::cast(*bytes.first_chunk::<32>().unwrap_or(&[0; 32]))
    }
    #[inline(always)]
    fn splat(self, byte: u8) -> Self::Vector {
        self.avx._mm256_set1_epi8(byte as i8)
    }
    #[inline(always)]
    fn table(self, table: &[u8; 16]) -> Self::Vector {
        pulp::cast([*table, *table])
    }
    #[inline(always)]
    fn look_up(self, table: Self::Vector, nibbles: Self::Vector) -> Self::Vector {
        self.avx2._mm256_shuffle_epi8(table, nibbles)
    }
    #[inline(always)]
    fn low_nibbles(self, bytes: Self::Vector) -> Self::Vector {
        self.avx2._mm256_and_si256(bytes, self.splat(0x0f))
    }
    #[inline(always)]
    fn high_nibbles(self, bytes: Self::Vector) -> Self::Vector {
        self.low_nibbles(self.avx2._mm256_srli_epi16::<4>(bytes))
    }
    #[inline(always)]
    fn minus(self, one: Self::Vector, other: Self::Vector) -> Self::Vector {
        self.avx2._mm256_sub_epi8(one, other)
    }
    #[inline(always)]
    fn least(self, one: Self::Vector, other: Self::Vector) -> Self::Vector {
        self.avx2._mm256_min_epu8(one, other)
    }
    #[inline(always)]
    fn equal(self, one: Self::Vector, other: Self::Vector) -> Self::Vector {
        self.avx2._mm256_cmpeq_epi8(one, other)
    }
    #[inline(always)]
    fn and(self, one: Self::Vector, other: Self::Vector) -> Self::Vector {
        self.avx2._mm256_and_si256(one, other)
    }
    #[inline(always)]
    fn or(self, one: Self::Vector, other: Self::Vector) -> Self::Vector {
        self.avx2._mm256_or_si256(one, other)
    }
    #[inline(always)]
    fn bits(self, bytes: Self::Vector) -> u64 {
        u64::from(self.avx2._mm256_movemask_epi8(bytes) as u32)
    }
}

/// Sixteen bytes at a time with what every processor of the architecture has.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Lanes for Portable {
    type Vector = u8x16;
    const WIDTH: usize = 16;

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> u8x16 {
        u8x16::new(*bytes.first_chunk().unwrap_or(&[0; 16]))
    }
    #[inline(always)]
    fn splat(self, byte: u8) -> u8x16 {
        u8x16::splat(byte)
    }
    #[inline(always)]
    fn table(self, table: &[u8; 16]) -> u8x16 {
        u8x16::new(*table)
    }
    #[inline(always)]
    fn look_up(self, table: u8x16, nibbles: u8x16) -> u8x16 {
        table.shuffle(nibbles)
    }
    #[inline(always)]
    fn low_nibbles(self, bytes: u8x16) -> u8x16 {
        bytes & u8x16::splat(0x0f)
    }
    #[inline(always)]
    fn high_nibbles(self, bytes: u8x16) -> u8x16 {
        let words: u16x8 = pulp::bytemuck::cast(bytes);
        self.low_nibbles(pulp::bytemuck::cast(words >> 4))
    }
    #[inline(always)]
    fn minus(self, one: u8x16, other: u8x16) -> u8x16 {
        one - other
    }
    #[inline(always)]
    fn least(self, one: u8x16, other: u8x16) -> u8x16 {
        one.min(other)
    }
    #[inline(always)]
    fn equal(self, one: u8x16, other: u8x16) -> u8x16 {
        one.simd_eq(other)
    }
    #[inline(always)]
    fn and(self, one: u8x16, other: u8x16) -> u8x16 {
        one & other
    }
    #[inline(always)]
    fn or(self, one: u8x16, other: u8x16) -> u8x16 {
        one | other
    }
    #[inline(always)]
    fn bits(self, bytes: u8x16) -> u64 {
        u64::from(bytes.to_bitmask())
    }
}
