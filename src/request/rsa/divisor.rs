//! Division by numbers that are known long before what is divided.

/// The longest number that can be divided: 4096 bits.
pub(super) const MAX_LIMBS: usize = 64;

/// A number of at most 58 bits to divide by.
pub(super) struct Divisor {
    divisor: u64,
    /// The remainders of the powers of 2^64.
    powers: [u64; MAX_LIMBS],
}

impl Divisor {
    pub(super) const fn new(divisor: u64) -> Self {
        assert!(divisor < 1 << 58, "the sum in Divisor::remainder has to fit");
        let mut powers = [0; MAX_LIMBS];
        let mut places = powers.as_mut_slice();
        let mut power = 1 % divisor;
        while let Some((place, rest)) = places.split_first_mut() {
            *place = power;
            power = remainder((power as u128) << 64, divisor);
            places = rest;
        }
        Self { divisor, powers }
    }

    /// The remainder of a number of at most [`MAX_LIMBS`].
    pub(super) fn remainder(&self, number: &[u64]) -> u64 {
        debug_assert!(number.len() <= MAX_LIMBS);
        // 2^6 products of 64 and 58 bits: the sum is below 2^128. It replaces a division a limb, each of which would
        // have to wait for the one before.
        let products = number.iter().zip(&self.powers).map(|(&limb, &power)| u128::from(limb) * u128::from(power));
        remainder(products.sum(), self.divisor)
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the remainder is below the divisor")]
const fn remainder(number: u128, divisor: u64) -> u64 {
    (number % divisor as u128) as u64
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;
    use crate::request::rsa::testing::{limb, number};

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn remainders_are_those_of_long_division(
            divisor in prop_oneof![1..1000_u64, 1..1_u64 << 58, Just((1 << 58) - 1)],
            limbs in prop::collection::vec(limb(), 0..=MAX_LIMBS),
        ) {
            let expected = number(&limbs) % divisor;
            prop_assert_eq!(BigUint::from(Divisor::new(divisor).remainder(&limbs)), expected);
        }
    }

    #[test]
    fn the_largest_sum_fits() {
        let divisor = (1 << 58) - 1;
        let limbs = [u64::MAX; MAX_LIMBS];
        assert_eq!(BigUint::from(Divisor::new(divisor).remainder(&limbs)), number(&limbs) % divisor);
    }
}
