//! Whether an RSA modulus is one that its owner alone can factor, as far as the modulus itself shows it.
//!
//! The checks are those that the CA/Browser Forum's Baseline Requirements ask of a public CA (sections 6.1.1.3 and
//! 6.1.6), but for the lists of Debian's keys of 2008. None of them can refuse a key that was made well, save ROCA's
//! fingerprint, by a chance of one in hundreds of millions.
//!
//! They are made before the signature is looked at, and cost a fraction of it. Long numbers are slices of 64-bit limbs
//! here, the lowest first.

mod divisor;
mod fermat;
mod root;

use super::key::KeyError;
use divisor::{Factor, MAX_LIMBS, OddDivisor};

/// How many odd primes there are below 752, up to which SP 800-89 section 5.3.3 asks for division.
const SMALL_PRIMES: usize = 132;

/// How many of them are multiplied up, so that one long division serves them all.
const TOGETHER: usize = 6;

/// The last prime of ROCA's fingerprint.
const ROCA_LAST_PRIME: u64 = 167;

/// The generator of the primes that the broken library makes.
const ROCA_GENERATOR: u64 = 65_537;

/// The odd primes up to 751, and the products by which to divide.
static PRIMES: [([Factor; TOGETHER], OddDivisor); SMALL_PRIMES / TOGETHER] = small_primes();

/// Refuses a modulus of 2048, 3072 or 4096 bits, given as big-endian bytes, that others can factor.
pub(super) fn check(modulus: &[u8]) -> Result<(), KeyError> {
    let other_length = Err(KeyError::RsaLength(modulus.len() * 8));
    let (rest, bytes) = modulus.as_rchunks();
    let mut limbs = [0; MAX_LIMBS];
    let Some(limbs) = limbs.get_mut(..bytes.len()) else { return other_length };
    for (limb, bytes) in limbs.iter_mut().zip(bytes.iter().rev()) {
        *limb = u64::from_be_bytes(*bytes);
    }
    let whole = limbs.last().is_some_and(|highest| highest.leading_zeros() == 0) && limbs.len().is_multiple_of(2);
    if !whole || !rest.is_empty() {
        return other_length;
    }
    if limbs.first().is_none_or(|lowest| lowest.is_multiple_of(2)) {
        return Err(KeyError::RsaEven);
    }
    if let Some(prime) = small_factor(limbs) {
        return Err(KeyError::RsaSmallFactor(prime));
    }
    if is_roca(limbs) {
        return Err(KeyError::RsaRoca);
    }
    if fermat::has_close_primes(limbs) {
        return Err(KeyError::RsaClosePrimes);
    }
    Ok(())
}

/// The smallest of the small primes that divides the modulus.
fn small_factor(modulus: &[u64]) -> Option<u64> {
    PRIMES.iter().find_map(|(primes, product)| {
        let reduced = product.reduce(modulus);
        primes.iter().find(|prime| prime.divides(reduced)).map(|prime| prime.value())
    })
}

/// The small primes in order, each with the remainder of division by it.
fn remainders(modulus: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    PRIMES.iter().flat_map(move |(primes, product)| {
        let reduced = product.reduce(modulus);
        primes.iter().map(move |prime| (prime.value(), reduced % prime.value()))
    })
}

/// Whether the modulus looks like one of the Infineon library RSALib (CVE-2017-15361).
///
/// Its primes are k·M + (65537^a mod M), where M is the product of the first primes. So modulo each of these the
/// modulus is a power of 65537 too (Nemec et al., The Return of Coppersmith's Attack, section 2.2).
fn is_roca(modulus: &[u64]) -> bool {
    remainders(modulus)
        .take_while(|&(prime, _)| prime <= ROCA_LAST_PRIME)
        .all(|(prime, remainder)| is_power(ROCA_GENERATOR, remainder, prime))
}

/// Whether a number is a power of `generator` modulo a prime.
fn is_power(generator: u64, number: u64, prime: u64) -> bool {
    let mut power = 1;
    loop {
        if power == number {
            return true;
        }
        power = power * generator % prime;
        if power <= 1 {
            return false;
        }
    }
}

const fn small_primes() -> [([Factor; TOGETHER], OddDivisor); SMALL_PRIMES / TOGETHER] {
    let mut groups = [const { ([Factor::new(1); TOGETHER], OddDivisor::new(1)) }; SMALL_PRIMES / TOGETHER];
    let mut candidate = 1;
    let mut places = groups.as_mut_slice();
    while let Some((group, rest)) = places.split_first_mut() {
        let mut product = 1;
        let mut primes = group.0.as_mut_slice();
        while let Some((prime, others)) = primes.split_first_mut() {
            candidate = next_prime(candidate);
            *prime = Factor::new(candidate);
            product *= candidate;
            primes = others;
        }
        group.1 = OddDivisor::new(product);
        places = rest;
    }
    groups
}

/// The first odd prime above an odd number.
const fn next_prime(number: u64) -> u64 {
    let mut candidate = number + 2;
    let mut divisor = 3;
    while divisor * divisor <= candidate {
        if candidate.is_multiple_of(divisor) {
            candidate += 2;
            divisor = 3;
        } else {
            divisor += 2;
        }
    }
    candidate
}

#[cfg(test)]
mod testing {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    /// Limbs, the extreme ones more often than chance would have them.
    pub(super) fn limb() -> impl Strategy<Value = u64> {
        prop_oneof![4 => any::<u64>(), 1 => 0..3_u64, 1 => u64::MAX - 2..=u64::MAX, 1 => Just(1 << 63)]
    }

    pub(super) fn number(limbs: &[u64]) -> BigUint {
        limbs.iter().rev().fold(BigUint::ZERO, |high, &limb| (high << 64) + limb)
    }

    pub(super) fn limbs_of(number: &BigUint) -> Vec<u64> {
        number.iter_u64_digits().collect()
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::testing::limbs_of;
    use super::*;

    /// Made by OpenSSL.
    const HONEST_2048: &str = "\
        9e3e07b05f1b85025f68ac86bd70363d0e5b282777c699169c165c404b85bf2bdadf5cadac3af01d18a14afdd92b8b4c6cb9469a3e396137\
        62c67c52ad595bf327e64b3747ab6d74aae1580165c437b1aec618786277ae57f9634da2d1faabdeaa569233d0676e1f4e04798d765ecad9\
        32a45d92af02b4994241561ebc20b8c3634e36461172a5b1248b9773ad643e8b87d1460ea91120b1a118d75d5b649063231b2bbeea819142\
        a28578307548b63150f058bfa91e9e434a0af174986d5ccc3ca08070618909222893397680e506f227c7b2683c624d0bd6f641df39e3969a\
        ee31360f6fab0bf064462965412f4a68e4f4ef719589825f8fd7d1660fb67a57";
    /// Made by OpenSSL.
    const HONEST_3072: &str = "\
        99c8fe8834e4be70fc9390527c7bd5158e98d879eace7e16766015d4da324690b8db0e4bcfe79a58ba6208561767fc570d4a7148b174f810\
        59bfe9e8f256bb6850a711230d504c1fae20a81019413c2b0b233fc06722af45310e506c2e94bdc8c931cf8a1ad8004e7f5f95b052535b71\
        2a78ec902f68159c7ddeb970d6804c0ab26f8eb22d65f9638b26bb821f24985769b20b4c84fa79eb1ea41ce2379ec876b08fc6eac312c96a\
        8faf60cf36d42ebd2129afaf260bdd8508536e9a048304b1a17099cd321f3b4d8bdd69e89c4e4e78432044aa9652720faf8609f26b9fdd3f\
        8fc28f32204c08a9b2bf79baa4c375412df3871d34165148e5648d67c515a6bc93ac8518aa4a8af8a6b699c9a44ad1d6af42cf6eb2b06341\
        e6083533db4c1506b144cc28dad1b740968b8daccdf7a2617881d6156abfab807a41803fef53ebb1f61347875b1ac314fa28ed7fedea2aa9\
        50fac67de917f1d5380a28231664fb5334de80f699664eb817ae5a33604ee6dd6286a3d49f30e3b5d68100d9b5826fb9";
    /// Made by OpenSSL.
    const HONEST_4096: &str = "\
        c24bdb1ca6a8138f0383b0354ba54973c5c40f2bf7a29d8d33744ad5c16d5e36d26cd0507225819ca6cffc0703186522d4aa9693d917e99d\
        b34bf832fa0314dbfaed8be1a3f2bb76e5c32f6796c5893c35497508326243afc9ac1da519fdcb3a4892917d0fec10b09ad690c779bbf5d8\
        170f71e19356be4ec75a35bad52e5b6878b76a3e9573357e006e6d83917a2e180780c1fa0c0b5c92db2ef4383498c348c2ebf946bee3b2eb\
        0fb9078e0d4b94177284ee4c1be84da9e453128f26f7f2b8057cb58b4b430adf5824bf188ae202a8da8ce658c73b973a7b8cd2b0884255e0\
        5b3a29e9ec54d169a4e18a1e5d94dae102cc1a51d4443f1bb5c968c6cda7157dd510fbb0fc6e8abcc89a472d92051c9e0ab81d8026b827b9\
        635d6031a2b6926b29c26f340f382b80e76d54ae5c8e25765503e86db02c1acb5dd09af1d34ad5c4396c6816e988d17b6bb736383f1ec2ad\
        c9ab8ab282286200af1da1f50f51d6ee91f0e7d52f0fc0cfcad647a688f30b442250c1124b642a25094e86459ad2101991f5478ac4d7656e\
        d9168e5a76a01817caf0e946073c98a39a9ab1eec678cb730826eb1488fc389fa3addbdb9084098399a6b19c43b6cf0f634b41566df5b5fc\
        670f1d31a198002e4e93bbbcb5612dc7a19cdf7c714681c0918461ff2d5e93b22b597bd8a88ee6620f719d25726b0e2be792a1d678593e36\
        353288ba3789c755";
    /// Two primes of the form k·M + (65537^a mod M), M the product of the first 126 primes, as RSALib made them.
    const ROCA: &str = "\
        dd4834ba21d9baed7a4920980836d4dd4f5f87a562371da0c8c2d30a362a072b72e551d0837c912114960f5e02d231b58338cf3d5ea352bf\
        b88f1df2d4c5eaef4624b7cc823436c12726b7dcc168dfe85301063c47d6adc6753375501fce565ef97190fb2900c22da9d45524037160fb\
        c7873cc8a89dfeea0a90ecc26299cb0473a53fe012f4f56bbbab5c067bffae3091ab9b24101ae160e50a1b6497a25796d141d1ead290dea5\
        55ebec936e3eed08da4d938d9283a9b68e5d56040bfbf68f74ccb913f74124ea84fc830b4a9e9b51ed38e122bfd439ac3f35665a966fdbb2\
        22f1d03dd42e7123be23bb1fca7bb18d0d281f626673197025c20f301a493ce3";
    /// A prime and the next one.
    const TWINS: &str = "\
        fa831c08015a144cb30cd02703d7e976fb30d0bfea81dc68e510b27c8f0aedd68110e504378d2799b9661d7e5175c76d55b60357ad4d73c9\
        78554aaab2b03c96c4d3021ee1a5dd13cbc29c037e9bc2c4965e10ebc50362f278e5f0bdbfb2383a908a718918a58b60eea1e2e4f0fe040d\
        93b5bf9cad86b8c3603851c89945487ea4223b5719cba6c556f743ea911dceaeb53a4d3f9cfb155441c9f807f92cd5f44c9caba4bda7d934\
        ec80987e1451d097ba4d8ff055acc2d5f946af43840b69ddb88b58650741755a17aff70db51fe7ab982a769fb09c0332bffbc62153b20c3f\
        22b4a995c4ae21fbf0aa7c714a9574ab312eb86580b6f74cb76b1e9cd6a7b61b";
    /// Two primes that Fermat's method finds in the last of a hundred rounds, with a at 99 above ⌈√N⌉.
    const LAST_ROUND: &str = "\
        b7a8fd98fa62c609a4e68abbaf7e6802471b838605ddae98d9156fe17cebbbd73da689fb36a5a63358a1db078f566e2f5ba997234bbe2be2\
        92a4bbdfc03dd07d859bfb8a45f7433686dd31f412e2a80f3548e1b9c5540b1a7238ff0096f6274a8ff3793865ea2143820d8e70d09871e0\
        13fb8836adf157809043a34a14998c3bb386457cbea43e861986d6cc4f731f8059f86167cdef1c2b27186b5bde9eda37cb9b88ddab75c064\
        e5c64eac4953e1332b361de1b2b5b8030d691ddb9d49dcb9e9690c0d27f33265df2184a4a967becd0fb205a909671fd769adbacb33dedbc1\
        e30967810cfd3bed52047e0a4e792ed510ebd84668ad2932892705272edb2513";
    /// Two primes that it finds one round later.
    const ONE_ROUND_MORE: &str = "\
        96a864d3cba021f9a5451f393bb753c97580b6b7eb9c6470c15e1591cab128285ca7f6cd2824fad3610f56f1d93b3cd554a8a422d446c056\
        14b49ad45755e6bc7dbb6f4130e22b6efb335cc548da51fca8eff09f1b79cd74fba95a1d8ed3dc4a9eda7a7718600d28781daa0ef2c61b11\
        2547ac4219989f834ff43615914c650ca79dbfffdae2a518d0e915cfbe78ac9616edd82a54295b80eeaf585c2618c000e3c820ccfc89bf6c\
        ebfad6120e8ba34c3838f28423030b13e278ba19312f3babca88289c3ecd23e6f49d61474784c45b363f30e9a3294c34887ea1b18d5871ed\
        31d6414a4e9eaa32f889d2146b43774684071088c34e35d608809e463d944ddf";
    /// 751, the last of the primes below 752, and a large prime.
    const FACTOR_751: &str = "\
        92d6deccff58d733f4773c07ed89dab6869e8ee3dade219dfce4c34684f45bc436af9e3f991ec24574d4e1ba50f0ce7a63b9d1849dedfcac\
        0f63f9719caddc8ab01db4d2196b1b736f5f3fe14e2208f10c4b7a3dbcb0ef74f00f89dcf04607ce9bb6fd4b600a4aba1fc9fa087a51ede9\
        2d99b1559778bf12fc8e89231b9879f6beb44134d796c5334ac3dae8da7fb86b40dd68b90bd38252ac4d910550f6a4847c8e95c1742f102b\
        6bf07a6326a6210ac239f7f2020f2fed38912e38c77f93b08724ea5272f254c65d076002f054fe68c8755d8c4a1bd33dd14ea28dd55b30b8\
        745a5e8172d929e4090eadd848f84ee56e0fc3b8113832f6d1017d9cc57c7069";
    /// 757, the first prime above, and a large prime.
    const FACTOR_757: &str = "\
        b7fc150dca1244f07532f7c5e59f822eff1746fd94336a34194115a2a31a72c0ea95cf62be55c3af9bfcf82885941cffe2a61cb1e1bacdda\
        777fd0e0a0f1473a73e9995f4ac72b74cccf3fc6671ff68ac699bfeb37f6ce1984819075765f158666abb75c970ffc43834971bb3a862577\
        2339b1f2cd711db9d00a4975c890389832195d19bca3b04654a24f633efe4dac927eb226d524d42638ab21ec64df5f337ca601873cb9c3cd\
        7748f05e980272303cfd41116ed75ace6c26b2eeaf61907db655b71a2f8abaeb0338e73d00fc7d9be740355d5bee5f80363f1967b2734672\
        4837668e940825ec1ab5dd1d9b0c38b0bef097698234adb967f97c514b87930b";

    fn number(hex: &str) -> BigUint {
        BigUint::parse_bytes(hex.as_bytes(), 16).unwrap()
    }

    fn checked(number: &BigUint) -> Result<(), KeyError> {
        check(&number.to_bytes_be())
    }

    fn has_roca(number: &BigUint) -> bool {
        is_roca(&limbs_of(number))
    }

    fn primes() -> Vec<u64> {
        PRIMES.iter().flat_map(|(primes, _)| *primes).map(Factor::value).collect()
    }

    fn roca_primes() -> Vec<u64> {
        primes().into_iter().filter(|&prime| prime <= ROCA_LAST_PRIME).collect()
    }

    /// The largest odd multiple that is not above the number.
    fn odd_multiple(number: &BigUint, factor: u64) -> BigUint {
        let times = number / factor;
        (if times.bit(0) { times } else { times - 1_u64 }) * factor
    }

    #[test]
    fn takes_honest_moduli_of_each_length() {
        for (hex, bits) in [(HONEST_2048, 2048), (HONEST_3072, 3072), (HONEST_4096, 4096)] {
            assert_eq!(number(hex).bits(), bits);
            assert_eq!(checked(&number(hex)), Ok(()));
        }
    }

    #[test]
    fn refuses_an_even_modulus() {
        for even in [number(HONEST_2048) + 1_u64, number(HONEST_4096) - 1_u64, BigUint::from(1_u8) << 2047] {
            assert_eq!(checked(&even), Err(KeyError::RsaEven));
        }
    }

    #[test]
    fn refuses_a_modulus_of_another_length() {
        let number = number(HONEST_2048);
        for other in [BigUint::ZERO, &number >> 1, &number << 1, &number << 64, &number << 2049, number.pow(3)] {
            let bits = other.to_bytes_be().len() * 8;
            assert_eq!(checked(&other), Err(KeyError::RsaLength(bits)), "{other:x}");
        }
    }

    #[test]
    fn the_small_primes_are_the_odd_ones_below_752() {
        assert_eq!(primes()[..6], [3, 5, 7, 11, 13, 17]);
        assert_eq!(primes().last(), Some(&751));
        let expected: Vec<u64> = (3..752).filter(|number| (2..*number).all(|divisor| number % divisor != 0)).collect();
        assert_eq!(primes(), expected);
        assert!(primes().contains(&ROCA_LAST_PRIME));
    }

    #[test]
    fn refuses_a_modulus_with_a_small_factor_and_says_which() {
        for prime in primes() {
            let composite = odd_multiple(&number(HONEST_2048), prime);
            let smallest = primes().into_iter().find(|&prime| &composite % prime == BigUint::ZERO);
            assert_eq!(checked(&composite), Err(KeyError::RsaSmallFactor(smallest.unwrap())));
            assert!(smallest <= Some(prime));
        }
        assert_eq!(checked(&number(FACTOR_751)), Err(KeyError::RsaSmallFactor(751)));
        assert_eq!(checked(&number(FACTOR_757)), Ok(()));
        assert_eq!(checked(&odd_multiple(&number(HONEST_4096), 751 * 5)), Err(KeyError::RsaSmallFactor(5)));
    }

    #[test]
    fn remainders_are_those_of_the_whole_number() {
        for modulus in [number(HONEST_2048), number(HONEST_4096), number(FACTOR_757), BigUint::from(1_000_003_u64)] {
            let expected: Vec<(u64, BigUint)> = primes().into_iter().map(|prime| (prime, &modulus % prime)).collect();
            let limbs = limbs_of(&modulus);
            let remainders = remainders(&limbs).map(|(prime, remainder)| (prime, remainder.into()));
            assert_eq!(remainders.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn refuses_the_fingerprint_of_roca() {
        assert_eq!(checked(&number(ROCA)), Err(KeyError::RsaRoca));
        assert!(!has_roca(&number(HONEST_2048)));
        assert!(!has_roca(&number(TWINS)));
    }

    #[test]
    fn one_prime_outside_the_subgroup_clears_of_roca() {
        // Adding the product of all the other primes changes the remainder of one prime only.
        assert_eq!(roca_primes().len(), 38);
        for one in roca_primes() {
            let others: BigUint = roca_primes().into_iter().filter(|&prime| prime != one).map(BigUint::from).product();
            let step = others * 2_u64;
            // 0 is never a power, so that there always is one.
            let outside = |modulus: &BigUint| modulus % one == BigUint::ZERO;
            let moved = (1..one).map(|times| number(ROCA) + &step * times).find(outside);
            assert!(!has_roca(&moved.unwrap()));
        }
    }

    #[test]
    fn powers_are_those_of_the_generator() {
        // 65537 is 10 modulo 11, whose powers are 1 and 10, and 3 modulo 7, whose powers are all but 0.
        let powers =
            |prime: u64| (0..prime).filter(|&number| is_power(ROCA_GENERATOR, number, prime)).collect::<Vec<_>>();
        assert_eq!(powers(11), [1, 10]);
        assert_eq!(powers(7), [1, 2, 3, 4, 5, 6]);
        // The orders of 65537 modulo the primes, multiplied up, give the chance of an accident: about 2^-27.8.
        let chance: f64 = roca_primes()
            .into_iter()
            .map(|prime| {
                f64::from(u32::try_from(powers(prime).len()).unwrap()) / f64::from(u32::try_from(prime - 1).unwrap())
            })
            .product();
        assert!((chance.log2() + 27.83).abs() < 0.01, "{chance}");
    }

    #[test]
    fn refuses_primes_that_are_close_to_each_other() {
        assert_eq!(checked(&number(TWINS)), Err(KeyError::RsaClosePrimes));
        assert_eq!(checked(&number(LAST_ROUND)), Err(KeyError::RsaClosePrimes));
        assert_eq!(checked(&number(ONE_ROUND_MORE)), Ok(()));
    }

    #[test]
    fn refuses_the_square_of_a_prime() {
        let twins = number(TWINS);
        let mean = twins.sqrt() + 1_u64;
        let prime = &mean - (mean.pow(2) - &twins).sqrt();
        assert_eq!(&twins % &prime, BigUint::ZERO);
        assert_eq!(checked(&prime.pow(2)), Err(KeyError::RsaClosePrimes));
    }
}
