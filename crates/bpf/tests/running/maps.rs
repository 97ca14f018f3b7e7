//! Maps beyond arrays, hashes and ring buffers, and helpers that go over
//! elements.

use crate::helpers::check;

fn key(map: i32, key: i32, helper: i32) -> String {
    format!(
        "*(u64 *)(r10 - 8) = {key}\n r1 = &map {map}\n r2 = r10\n r2 += -8\n call helper {helper}\n"
    )
}

fn lookup(map: i32, at: i32) -> String {
    key(map, at, 1) + "if r0 == 0 goto +1\n r0 = *(u64 *)(r0 + 0)\n"
}

fn delete(map: i32, at: i32) -> String {
    key(map, at, 3)
}

fn update(map: i32, key: i32, value: i32) -> String {
    format!(
        "*(u64 *)(r10 - 8) = {key}\n *(u64 *)(r10 - 16) = {value}\n r1 = &map {map}\n r2 = r10\n \
         r2 += -8\n r3 = r10\n r3 += -16\n r4 = 0\n call helper 2\n"
    )
}

#[test]
fn per_cpu_maps_have_one_cpu() {
    for map in [4, 5] {
        check(&(update(map, 1, 77) + &lookup(map, 1)), "77");
        let on_cpu = |cpu: i32| {
            format!(
                "*(u64 *)(r10 - 8) = 1\n r1 = &map {map}\n r2 = r10\n r2 += -8\n r3 = {cpu}\n \
                 call helper 195\n if r0 == 0 goto +1\n r0 = *(u64 *)(r0 + 0)\n"
            )
        };
        check(&(update(map, 1, 77) + &on_cpu(0)), "77");
        check(&(update(map, 1, 77) + &on_cpu(1)), "0");
    }
    check(&delete(4, 1), "-22");
    check(&delete(5, 1), "-2");
    check(
        &key(1, 0, 195),
        "bpf_map_lookup_percpu_elem: map array is not per-CPU; its type is array",
    );
}

#[test]
fn a_full_lru_hash_drops_its_oldest_entry() {
    let three = update(6, 1, 11) + &update(6, 2, 22) + &update(6, 3, 33);
    check(&three, "0");
    check(&(three.clone() + &lookup(6, 1)), "0");
    check(&(three.clone() + &lookup(6, 2)), "22");
    check(&(three.clone() + &lookup(6, 3)), "33");
    // A deleted entry leaves room.
    let room = update(6, 1, 11) + &update(6, 2, 22) + &delete(6, 2) + &update(6, 3, 33);
    check(&(room + &lookup(6, 1)), "11");
    check(
        &(update(6, 1, 11)
            + &key(6, 1, 1)
            + "r7 = r0\n"
            + &update(6, 2, 22)
            + &update(6, 3, 33)
            + "r0 = *(u64 *)(r7 + 0)"),
        "read of 8 bytes from the value of lru, which was evicted: value of lru+0x0; \
         the value of lru was evicted by instruction 37",
    );
}

#[test]
fn queues_and_stacks() {
    let push = |map: i32, value: i32, flags: i32| {
        format!(
            "*(u64 *)(r10 - 8) = {value}\n r1 = &map {map}\n r2 = r10\n r2 += -8\n r3 = {flags}\n \
             call helper 87\n"
        )
    };
    let read = |map: i32, helper: i32| {
        format!(
            "*(u64 *)(r10 - 8) = -1\n r1 = &map {map}\n r2 = r10\n r2 += -8\n call helper {helper}\n \
             r7 = r0\n r0 = *(u64 *)(r10 - 8)\n r0 += r7\n"
        )
    };
    let (pop, peek) = (|map| read(map, 88), |map| read(map, 89));
    for (map, first, second) in [(7, "1", "2"), (8, "2", "1")] {
        let two = push(map, 1, 0) + &push(map, 2, 0);
        check(&(two.clone() + &pop(map)), first);
        check(&(two.clone() + &peek(map) + &peek(map)), first);
        check(&(two.clone() + &pop(map) + &pop(map)), second);
        // Empty: -ENOENT and zeros.
        check(&(two.clone() + &pop(map) + &pop(map) + &pop(map)), "-2");
        check(&(two.clone() + &push(map, 3, 0)), "-7");
        check(&(two.clone() + &push(map, 3, 1)), "-22");
        // BPF_EXIST drops the oldest.
        let forced = two + &push(map, 3, 2);
        check(&forced, "0");
        check(&(forced + &pop(map)), if map == 7 { "2" } else { "3" });
    }
    check(
        &push(1, 1, 0),
        "bpf_map_push_elem: map array is no queue or stack; its type is array",
    );
    check(
        &key(7, 0, 1),
        "bpf_map_lookup_elem: map queue has no elements with keys; its type is queue",
    );
}

/// Calls back for each element of `map`; the callback adds `100 + value` to
/// what the context points to, and runs `more`.
fn for_each(before: &str, map: i32, more: &str) -> String {
    format!(
        "{before} *(u64 *)(r10 - 8) = 0\n r1 = &map {map}\n r2 = &body\n r3 = r10\n r3 += -8\n r4 = 0\n \
         call helper 164\n r1 = *(u64 *)(r10 - 8)\n r0 *= 10000\n r0 += r1\n exit\n fn body:\n \
         r5 = *(u64 *)(r3 + 0)\n r5 += 100\n r6 = *(u64 *)(r4 + 0)\n r6 += r5\n *(u64 *)(r4 + 0) = r6\n \
         {more}\n r0 = 0\n out:"
    )
}

#[test]
fn for_each_sees_every_element_once() {
    let two = |map| update(map, 0, 5) + &update(map, 1, 7);
    for map in [2, 4, 5, 6] {
        check(&for_each(&two(map), map, ""), "20212");
    }
    check(&for_each("", 2, ""), "0");
    check(&for_each("", 1, ""), "30300");
    // Keys, in order: 0 and 1.
    let keys =
        "r6 = *(u16 *)(r2 + 0)\n *(u64 *)(r4 + 0) = r6\n if r6 == 0 goto +2\n r0 = 1\n goto out";
    check(&for_each(&two(5), 5, keys), "20001");
    check(&for_each(&two(2), 2, "r0 = 1\n goto out"), "10105");
    check(
        &for_each(&two(2), 2, "*(u8 *)(r2 + 0) = 1"),
        "write of 1 byte to the key of hash, which is read-only: key of hash+0x0",
    );
    check(
        "r1 = &map 7\n r2 = 0\n r3 = 0\n r4 = 0\n call helper 164",
        "bpf_for_each_map_elem: map queue has no elements with keys; its type is queue",
    );
    check(
        "r1 = &map 2\n r2 = 0\n r3 = 0\n r4 = 1\n call helper 164",
        "-22",
    );
}

#[test]
fn a_callback_may_delete_what_it_sees() {
    let text = for_each(
        &(update(2, 0, 5) + &update(2, 1, 7)),
        2,
        "r7 = r3\n r1 = &map 2\n call helper 3\n",
    );
    check(&text, "20212");
    let late = for_each(
        &(update(2, 0, 5) + &update(2, 1, 7)),
        2,
        "r7 = r3\n r1 = &map 2\n call helper 3\n r0 = *(u64 *)(r7 + 0)",
    );
    check(
        &late,
        "read of 8 bytes from the value of hash, which was deleted: value of hash+0x0; \
         the value of hash was deleted by instruction 42",
    );
}
