//! The view of a tracer on a run.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use ukexec_bpf::memory::Memory;
use ukexec_bpf::trace::{Call, Callee, Returned, Step, Tracer};
use ukexec_bpf::{BpfError, Vm};
use ukexec_bpf::{Host, Meter, Rope};

use crate::rig::{kfunc, parser};

/// Writes down what it sees.
#[derive(Default)]
struct Notes {
    text: String,
    traced: bool,
}

impl Host for Notes {
    fn call(
        &mut self,
        kfunc: u32,
        args: [u64; 5],
        _: &mut Memory,
        _: &mut Meter,
    ) -> Result<u64, BpfError> {
        Ok(u64::from(kfunc) + args[0])
    }

    fn log(&mut self, line: &str) {
        writeln!(self.text, "| {line}").unwrap();
    }

    fn tracer(&mut self) -> Option<&mut dyn Tracer> {
        self.traced.then_some(self as &mut dyn Tracer)
    }
}

impl Tracer for Notes {
    fn step(&mut self, step: &Step<'_>) {
        write!(self.text, "{}:{}", step.depth, step.slot).unwrap();
        for (register, value) in step.changed {
            write!(self.text, " r{register}={}", step.memory.describe(*value)).unwrap();
        }
        if let Some(touched) = step.touched {
            let place = step.memory.describe(touched.addr);
            let access = touched.access;
            write!(
                self.text,
                " {access} {} {place} {:x?}",
                touched.len, touched.value
            )
            .unwrap();
        }
        self.text.push('\n');
    }

    fn call(&mut self, call: &Call<'_>) {
        let first = call.memory.describe(call.args[0]);
        writeln!(
            self.text,
            "call {} by {}: {first}",
            name(call.callee),
            call.slot
        )
        .unwrap();
    }

    fn returned(&mut self, returned: &Returned<'_>) {
        let r0 = returned.memory.describe(returned.r0);
        writeln!(self.text, "{} = {r0}", name(returned.callee)).unwrap();
    }
}

fn name(callee: Callee<'_>) -> String {
    match callee {
        Callee::Helper { name, .. } => name.to_owned(),
        Callee::Kfunc(kfunc) => kfunc.name.clone(),
    }
}

/// Runs `text` with r1 pointing to `image`, traced and not; both must come to
/// the same.
fn check(text: &str, expected: Expect) {
    let mut parser = parser(text);
    parser.kfuncs.push(kfunc("host_kfunc", Some(41)));
    let parser = parser.verify().unwrap();
    let run = |traced| {
        let mut notes = Notes {
            traced,
            ..Notes::default()
        };
        let mut meter = Meter::default();
        let mut vm = Vm::new(&parser, &mut meter).unwrap();
        let rope = Rope::from(b"0123456789abcdef".to_vec());
        let image = vm.memory().add_rope("image", rope).unwrap();
        let result = vm.call(0, [image, 0, 0, 0, 0], &mut notes, &mut meter);
        let result = result.map_err(|error| error.to_string());
        (result, meter, notes.text)
    };
    let ((result, meter, text), quiet) = (run(true), run(false));
    assert_eq!(
        (&result, meter),
        (&quiet.0, quiet.1),
        "a trace costs nothing"
    );
    let end = match result {
        Ok(r0) => format!("returned {r0:#x}\n"),
        Err(error) => format!("failed: {error}\n"),
    };
    expected.assert_eq(&(text + &end));
}

#[test]
fn registers_and_memory_are_told_after_each_instruction() {
    check(
        "r0 = *(u16 *)(r1 + 4)\n *(u32 *)(r10 - 8) = -2\n r1 += 3\n if r0 == 0 goto +0\n exit",
        expect![[r#"
            1:0 r0=0x3534 read 2 image+0x4 Some(3534)
            1:1 write 4 stack-0x8 Some(fffffffe)
            1:2 r1=image+0x3
            1:3
            1:4
            returned 0x3534
        "#]],
    );
}

#[test]
fn calls_are_told_before_and_after() {
    check(
        "r1 = 1\n call kfunc 0\n r6 = r0\n call helper 5\n call inner\n exit\n\
         fn inner:\n r6 = 7\n exit",
        expect![[r#"
            1:0 r1=0x1
            1:1
            call host_kfunc by 1: 0x1
            host_kfunc = 0x2a
            1:2 r6=0x2a
            1:3
            call bpf_ktime_get_ns by 3: 0x1
            bpf_ktime_get_ns = 0x0
            1:4 r10=stack[1]+0x0
            2:6 r6=0x7
            2:7 r6=0x2a r10=stack+0x0
            1:5
            returned 0x0
        "#]],
    );
}

#[test]
fn callbacks_are_told_inside_their_call() {
    check(
        "r1 = 2\n r2 = &body\n r3 = 0\n r4 = 0\n call helper 181\n exit\n\
         fn body:\n r0 = 0\n exit",
        expect![[r#"
            1:0 r1=0x2
            1:1 r2=the address of the function at insn 7
            1:3
            1:4
            1:5
            call bpf_loop by 5: 0x2
            2:7
            2:8
            2:7
            2:8
            bpf_loop = 0x2
            1:6
            returned 0x2
        "#]],
    );
}

#[test]
fn an_instruction_that_fails_is_the_last() {
    check(
        "r0 = *(u64 *)(r1 + 12)\n exit",
        expect![[r#"
            1:0 read 8 image+0xc None
            failed: main, insn 0: read of 8 bytes passes the end of the image: image+0xc; the image ends at 0x10
        "#]],
    );
}
