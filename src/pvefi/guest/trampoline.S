# SPDX-License-Identifier: GPL-2.0-or-later
#
# All of pvefi that ever stands in a guest: the trampoline that a machine starts first, and the gates.
#
# A machine enters at _start32 in the state of the PVH entry (xen/include/public/arch-x86/hvm/start_info.h):
# 32-bit protected mode, paging off, flat segments, %ebx = guest physical address of hvm_start_info.
# The trampoline reaches the state of UEFI 2.10 §2.3.4 and rings BOOT; the host answers with an upcall
# of the image's entry point.
#
# Rebuild with `make guest`; tests/guest/test_trampoline.py compares the bytes.

# Mailbox offsets in bytes; pvefi/guest/mailbox.py declares the same structure and a test compares them.
        .set MAILBOX_SEQ,      0x00     # calls rung so far; the guest counts it up before each doorbell
        .set MAILBOX_DONE,     0x08     # the host stores the seq that it answered, after everything else
        .set MAILBOX_FUNCTION, 0x10     # gate index, or one of FUNCTION_*
        .set MAILBOX_RCX,      0x18     # the four register arguments of the Microsoft x64 convention
        .set MAILBOX_RDX,      0x20
        .set MAILBOX_R8,       0x28
        .set MAILBOX_R9,       0x30
        .set MAILBOX_RSP,      0x38     # the caller's stack: return address at 0, fifth argument at 0x28
        .set MAILBOX_CR3,      0x40
        .set MAILBOX_CR4,      0x48
        .set MAILBOX_TSC_IN,   0x50     # time-stamp counter at the doorbell
        .set MAILBOX_TSC_OUT,  0x58     # time-stamp counter when the answer was seen
        .set MAILBOX_ACTION,   0x60     # what the guest does with the answer: ACTION_*
        .set MAILBOX_RESULT,   0x68     # %rax for ACTION_RETURN
        .set MAILBOX_A0,       0x70     # operands of the other actions
        .set MAILBOX_A1,       0x78
        .set MAILBOX_A2,       0x80
        .set MAILBOX_A3,       0x88
        .set MAILBOX_A4,       0x90
        .set MAILBOX_BOUND,    0x98     # longest wait for an answer, in TSC ticks; 0 = without end
        .set MAILBOX_TIMEOUTS, 0xa0     # waits that ran out
        .set MAILBOX_DEAD,     0xa8     # the seq whose wait ran out; once set, no call is made any more
        .set MAILBOX_TSC_START,0xb0     # time-stamp counter at the trampoline's first instruction
        .set MAILBOX_FRAME,    0xb8     # stack pointer of the newest upcall's frame, for ACTION_UNWIND
        .set MAILBOX_LOCK,     0xc0     # odd while a CPU is between storing its arguments and reading its answer

        .set MAILBOX_CPUID_BASE,0xc8    # first CPUID leaf of the hypervisor, 0 when none announces itself
        .set MAILBOX_SIGNATURE,0xd0     # that leaf's ebx, ecx, edx: 12 characters
        .set MAILBOX_HYPERVISOR_VERSION,0xdc    # the next leaf's eax, 0 when there is none
        .set MAILBOX_BLOCKING, 0xe0     # I/O port that blocks the CPU until the host has answered; 0 = none
        .set MAILBOX_ABANDON,  0xe8     # where to go when a wait runs out; 0 = return EFI_DEVICE_ERROR
        .set MAILBOX_LA57,     0xf0     # 1 where the CPU has LA57; elsewhere CR4 stays as the trampoline has it
        .set SIZE_OF_MAILBOX,  0xf8

        .set FUNCTION_BOOT,          0x1000     # rcx = hvm_start_info
        .set FUNCTION_UPCALL_RETURN, 0x1001     # rcx = what the upcalled function returned
        .set FUNCTION_DONE,          0x1002     # a copy or a fill is done
        .set FUNCTION_END,           0x1003     # the trampoline has nothing more to do
        .set FUNCTION_EXCEPTION,     0x1004     # rcx = the exception's frame, FRAME_*

        .set ACTION_RETURN, 0           # return RESULT to the caller
        .set ACTION_UPCALL, 1           # call A0(A1, A2, A3, A4), then ring FUNCTION_UPCALL_RETURN
        .set ACTION_COPY,   2           # copy A2 bytes from A1 to A0, which may overlap, then ring FUNCTION_DONE
        .set ACTION_UNWIND, 3           # leave the upcall whose frame is A0 as if it had returned A1
        .set ACTION_ENTER,  4           # take the CPU state at A0, by the routine at A1, and never come back
        .set ACTION_FILL,   5           # set A2 bytes at A0 to the byte A1, then ring FUNCTION_DONE
        .set ACTION_COMMIT, 6           # store A0 records of the staging area, return RESULT; A1: ring FUNCTION_DONE

# One record of the staging area. The next one begins at the next multiple of 8 bytes.
        .set RECORD_TARGET, 0x00        # where the bytes go, an address of the caller's
        .set RECORD_LENGTH, 0x08
        .set RECORD_BYTES,  0x10
        .set STAGING,       0x6000      # the staging area's distance from the mailbox

# The state that ACTION_ENTER loads; pvefi/guest/entry_state.py declares the same structure.
        .set STATE_RAX,    0x00         # rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8 to r15: 8 bytes each
        .set STATE_RBX,    0x08
        .set STATE_RCX,    0x10
        .set STATE_RDX,    0x18
        .set STATE_RSI,    0x20
        .set STATE_RDI,    0x28
        .set STATE_RBP,    0x30
        .set STATE_RSP,    0x38
        .set STATE_R8,     0x40
        .set STATE_R9,     0x48
        .set STATE_R10,    0x50
        .set STATE_R11,    0x58
        .set STATE_R12,    0x60
        .set STATE_R13,    0x68
        .set STATE_R14,    0x70
        .set STATE_R15,    0x78
        .set STATE_RIP,    0x80
        .set STATE_CODE,   0x88         # code segment selector
        .set STATE_DATA,   0x90         # data segment selector, for ds, es, ss, fs and gs
        .set STATE_BITS,   0x98         # 64: long mode as it is; 32: protected mode, paging off
        .set STATE_GDT,    0xa0         # limit (2 bytes), base (8 bytes)
        .set STATE_TSS,    0xaa         # task state segment selector (2 bytes), 0 for none; 32-bit mode only

        .set FLOAT_AREA, 528            # what fxsave64 writes, aligned to 16 bytes

        .set DOORBELL, 0x520            # I/O port; free on q35, pc, microvm and Xen's PVH platform
        .set GATE_COUNT, 400
        .set GATE_SIZE,  16

        .set EFI_UNSUPPORTED,  0x8000000000000003       # UEFI 2.10 Appendix D
        .set EFI_DEVICE_ERROR, 0x8000000000000007

        .set COM1, 0x3f8                # the first serial port of a PC
        .set EXIT_PORT, 0x522           # ends the machine where that has such a port, or does nothing
        .set BOOT_PART, 0x810000        # where trampoline.lds puts the boot part
        .set BOOT_BOUND, 100000000000   # BOOT's own wait in TSC ticks: 30 s at 3.3 GHz, until the host knows better
        .set LOCK_PATIENCE, 1000000000  # TSC ticks in which a CPU that runs gives the lock back: 0.3 s at 3.3 GHz

        .section .note.pvh, "a", @note
        .long 2f - 1f, 4f - 3f, 18      # namesz, descsz, XEN_ELFNOTE_PHYS32_ENTRY
1:      .asciz "Xen"
2:      .balign 4
3:      .long _start32
4:      .balign 4

# ---------------------------------------------------------------- gates: position independent
# Whatever the Microsoft x64 convention lets a callee change may change here: rax, rcx, rdx, r8-r11.
        .section .gates, "ax"
        .code64
        .globl mailbox_pointer, gates, gate_common, unsupported
mailbox_pointer:
        .quad mailbox                   # virtual address of the mailbox; data, patched by the host
        .balign 16
gate_common:                            # %eax = function
        pushfq
        cli                             # an interrupt between doorbell and answer could ring again
        movq    mailbox_pointer(%rip), %r10
        movl    %eax, %r11d
acquire:
        cmpq    $0, MAILBOX_DEAD(%r10)
        jne     dead
        lock btsq $0, MAILBOX_LOCK(%r10)
        jc      contended
acquired:
        cmpq    $0, MAILBOX_DEAD(%r10)  # it may have died while another CPU held the lock
        jne     release
        movq    %rcx, MAILBOX_RCX(%r10)
        movq    %rdx, MAILBOX_RDX(%r10)
        movq    %r8, MAILBOX_R8(%r10)
        movq    %r9, MAILBOX_R9(%r10)
ring:                                   # %r11d = function, lock held, flags on the stack
        leaq    8(%rsp), %rax           # the caller's stack pointer, below the saved flags
        movq    %rax, MAILBOX_RSP(%r10)
        movl    %r11d, MAILBOX_FUNCTION(%r10)
        movq    %cr3, %rax
        movq    %rax, MAILBOX_CR3(%r10)
        testb   $1, MAILBOX_LA57(%r10)  # to read CR4 leaves the guest on SVM, and who looks at it asks for LA57
        jnz     depth
counter:
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, MAILBOX_TSC_IN(%r10)
        movq    %rax, %r8               # the wait counts from here
        movq    MAILBOX_SEQ(%r10), %r11
        incq    %r11
        movl    %r11d, %eax
        movl    $DOORBELL, %edx
        movq    %r11, MAILBOX_SEQ(%r10) # between here and the next instruction this CPU must not stop for good
        outb    %al, %dx                # the host wakes up
        movl    MAILBOX_BLOCKING(%r10), %edx
        testl   %edx, %edx
        jnz     block
wait:   cmpq    %r11, MAILBOX_DONE(%r10)
        je      answered
        pause
        cmpq    %r11, MAILBOX_SEQ(%r10)
        jne     robbed
        movq    MAILBOX_BOUND(%r10), %rcx
        testq   %rcx, %rcx
        jz      wait
        cmpq    $0, MAILBOX_DEAD(%r10)  # the host leaves, and says so
        jne     release
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        subq    %r8, %rax
        cmpq    %rcx, %rax
        jb      wait
        incq    MAILBOX_TIMEOUTS(%r10)
        movq    %r11, MAILBOX_DEAD(%r10)        # sticky: a late answer must find nobody who acts on it
release:
        movq    $0, MAILBOX_LOCK(%r10)
dead:   movq    MAILBOX_ABANDON(%r10), %rax
        testq   %rax, %rax
        jnz     1f
robbed: movabsq $EFI_DEVICE_ERROR, %rax # the lock is another CPU's, which took this one for stopped
        popfq
        ret
1:      jmp     *%rax                   # while boot services last nothing can go on without the host
depth:  movq    %cr4, %rax
        movq    %rax, MAILBOX_CR4(%r10)
        jmp     counter
block:  outb    %al, %dx                # comes back when the host has answered, and counts as one instruction
        jmp     wait
contended:                              # another CPU is in a call; rcx, rdx, r8, r9 hold our arguments
        pushq   %rbx
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
patience:
        movq    MAILBOX_LOCK(%r10), %rsi        # whose it is
        movq    MAILBOX_SEQ(%r10), %rbx         # and the call that it is in, or is about to count
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, %rcx              # both are so since then
held:   pause
        cmpq    $0, MAILBOX_DEAD(%r10)
        jne     2f
        cmpq    $0, MAILBOX_LOCK(%r10)
        je      2f
        cmpq    %rbx, MAILBOX_SEQ(%r10)
        jne     patience                # it runs
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        subq    %rcx, %rax
        cmpq    %rbx, MAILBOX_DONE(%r10)
        jne     unanswered
        cmpq    $LOCK_PATIENCE, %rax
        jb      held
        testq   %rsi, %rsi
        jz      patience                # the lock was free when we looked
        movq    %rsi, %rax              # answered, and yet not given back: that CPU has stopped for good, as
        leaq    2(%rsi), %rdx           # the others do when a kernel panics; of all that wait one takes over
        lock cmpxchgq %rdx, MAILBOX_LOCK(%r10)
        jne     patience
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rbx
        jmp     acquired
unanswered:                             # what has stopped may be the host
        movq    MAILBOX_BOUND(%r10), %rdx
        testq   %rdx, %rdx
        jz      held
        cmpq    %rdx, %rax
        jb      held
        incq    MAILBOX_TIMEOUTS(%r10)
        movq    %rbx, MAILBOX_DEAD(%r10)
2:      popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rbx
        jmp     acquire

answered:
        cmpq    %r11, MAILBOX_SEQ(%r10)
        jne     robbed
        rdtsc
        shlq    $32, %rdx
        orq     %rdx, %rax
        movq    %rax, MAILBOX_TSC_OUT(%r10)
        movl    MAILBOX_ACTION(%r10), %eax
        testl   %eax, %eax
        jnz     act
return: movq    MAILBOX_RESULT(%r10), %rax
        movq    $0, MAILBOX_LOCK(%r10)
        popfq
        ret

act:    cmpl    $ACTION_COMMIT, %eax
        je      commit
        cmpl    $ACTION_UPCALL, %eax
        je      upcall
        cmpl    $ACTION_COPY, %eax
        je      copy
        cmpl    $ACTION_FILL, %eax
        je      fill
        cmpl    $ACTION_UNWIND, %eax
        je      unwind
        cmpl    $ACTION_ENTER, %eax
        je      leave_for_good
        ud2                             # the two halves of pvefi do not belong together

commit: pushq   %rsi                    # the answer came in time: what it says may be stored now
        pushq   %rdi
        movl    MAILBOX_A0(%r10), %edx
        leaq    STAGING(%r10), %rsi
        cld
1:      movq    RECORD_TARGET(%rsi), %rdi
        movq    RECORD_LENGTH(%rsi), %rcx
        addq    $RECORD_BYTES, %rsi
        rep movsb
        addq    $7, %rsi
        andq    $-8, %rsi
        decl    %edx
        jnz     1b
        cmpl    $0, MAILBOX_A1(%r10)
        jne     done
        popq    %rdi
        popq    %rsi
        jmp     return

upcall: movl    (%rsp), %r11d           # the caller's flags: the upcalled function runs with its IF
        pushq   %rbp                    # everything a callee must preserve, since Exit() unwinds to here
        pushq   %rbx
        pushq   %rsi
        pushq   %rdi
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        subq    $FLOAT_AREA, %rsp       # a KVM that emulates knows fxsave, and neither stmxcsr nor fldcw
        leaq    15(%rsp), %rax
        andq    $-16, %rax
        fxsave64 (%rax)
        movq    %rsp, MAILBOX_FRAME(%r10)
        movq    %rsp, %rbp
        andq    $-16, %rsp
        subq    $32, %rsp               # the callee's home space for its four register arguments
        movq    MAILBOX_A0(%r10), %rax
        movq    MAILBOX_A1(%r10), %rcx
        movq    MAILBOX_A2(%r10), %rdx
        movq    MAILBOX_A3(%r10), %r8
        movq    MAILBOX_A4(%r10), %r9
        movq    $0, MAILBOX_LOCK(%r10)  # the upcalled function may ring
        testl   $0x200, %r11d           # RFLAGS.IF
        jz      1f
        sti
1:      callq   *%rax
        cli
        movq    %rbp, %rsp              # a callee preserves %rbp; the frame is where it was
        jmp     leave_upcall
unwind: movq    MAILBOX_A0(%r10), %rsp
        movq    MAILBOX_A1(%r10), %rax
        movq    $0, MAILBOX_LOCK(%r10)
leave_upcall:                           # %rsp = the frame, %rax = the upcall's result
        cld
        leaq    15(%rsp), %r10
        andq    $-16, %r10
        fxrstor64 (%r10)
        addq    $FLOAT_AREA, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rdi
        popq    %rsi
        popq    %rbx
        popq    %rbp
        movq    mailbox_pointer(%rip), %r10
        movq    %rax, %rcx
        movl    $FUNCTION_UPCALL_RETURN, %r11d
        jmp     acquire

copy:   pushq   %rsi
        pushq   %rdi
        movq    MAILBOX_A0(%r10), %rdi
        movq    MAILBOX_A1(%r10), %rsi
        movq    MAILBOX_A2(%r10), %rcx
        cld
        movq    %rdi, %rax
        subq    %rsi, %rax
        cmpq    %rcx, %rax              # target within the source: copy from the end downwards
        jae     1f
        leaq    -1(%rsi,%rcx), %rsi
        leaq    -1(%rdi,%rcx), %rdi
        std
1:      rep movsb
        cld
        jmp     done
fill:   pushq   %rsi
        pushq   %rdi
        movq    MAILBOX_A0(%r10), %rdi
        movq    MAILBOX_A1(%r10), %rax
        movq    MAILBOX_A2(%r10), %rcx
        cld
        rep stosb
done:   popq    %rdi
        popq    %rsi
        movl    $FUNCTION_DONE, %r11d
        jmp     ring

leave_for_good:                         # A0 = the state, A1 = enter in the boot part
        movq    MAILBOX_A0(%r10), %rdi
        movq    MAILBOX_A1(%r10), %rax
        movq    $0, MAILBOX_LOCK(%r10)
        jmp     *%rax

        .balign 16
unsupported:                            # a service that needs no host
        movabsq $EFI_UNSUPPORTED, %rax
        ret

        .balign GATE_SIZE
gates:  .set    index, 0
        .rept   GATE_COUNT
        .balign GATE_SIZE
        movl    $index, %eax
        jmp     gate_common
        .set    index, index + 1
        .endr

# ---------------------------------------------------------------- mailbox and the host's arena beside it
        .section .mailbox, "aw", @nobits
        .globl mailbox, runtime_arena, staging, staging_end
mailbox:
        .skip   4096
runtime_arena:                          # system table, runtime services table, configuration tables
        .skip   0x5000
staging:                                # what the host wants stored, until the guest stores it: ACTION_COMMIT
        .skip   0x6000
staging_end:

# ---------------------------------------------------------------- boot part: gone after ExitBootServices
        .section .boot, "awx"
        .code32
        .globl _start32, enter, gdt, gdt_end, page_map_level4, first_page_table, stack_top, boot_arena
        .globl boot_start, idt, abandon, blocking_port
boot_start:
_start32:
        cli
        cld
        rdtsc
        movl    %eax, %esi
        movl    %edx, %ebp
        movl    $mailbox, %edi          # a reset does not clear memory on every machine
        movl    $SIZE_OF_MAILBOX / 4, %ecx
        xorl    %eax, %eax
        rep stosl
        movl    %esi, mailbox + MAILBOX_TSC_START
        movl    %ebp, mailbox + MAILBOX_TSC_START + 4
        lgdt    gdt_pointer
        movl    %cr4, %eax
        orl     $0x620, %eax            # CR4.PAE | OSFXSR | OSXMMEXCPT
        movl    %eax, %cr4
        movl    $page_map_level4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx       # IA32_EFER
        rdmsr
        orl     $0x900, %eax            # LME | NXE
        wrmsr
        movl    %cr0, %eax
        andl    $~0xe, %eax             # CR0.EM, TS, MP off
        orl     $0x80010023, %eax       # PG | WP | NE | MP | PE
        movl    %eax, %cr0
        ljmp    $0x38, $start64
        .code64
start64:
        movl    $0x30, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %eax, %fs
        movl    %eax, %gs
        movl    $stack_top, %esp
        fxrstor64 float_state(%rip)
        lidt    idt_pointer
        movl    $0x40, %eax
        movb    $0x89, gdt + 0x45       # available, which a reset that clears no memory leaves "busy"
        movb    $0x89, gdt + 0x25       # likewise the one that an image may have been given
        ltr     %ax                     # for the stack of exceptions
        subq    $32, %rsp
        movl    blocking_port, %eax
        movl    %eax, mailbox + MAILBOX_BLOCKING
        movl    $abandon, mailbox + MAILBOX_ABANDON
        movabsq $BOOT_BOUND, %rax
        movq    %rax, mailbox + MAILBOX_BOUND
        movl    %ebx, %esi              # hvm_start_info; CPUID takes ebx
        movq    %cr4, %rax
        movq    %rax, mailbox + MAILBOX_CR4
        xorl    %eax, %eax
        cpuid
        cmpl    $7, %eax
        jb      1f
        movl    $7, %eax
        xorl    %ecx, %ecx
        cpuid
        shrl    $16, %ecx               # Intel SDM vol. 2A, CPUID: leaf 7, ecx bit 16
        andl    $1, %ecx
        movl    %ecx, mailbox + MAILBOX_LA57
1:
        movl    $1, %eax
        cpuid
        btl     $31, %ecx               # "a hypervisor is present"
        jnc     2f
        movl    $0x40000000, %edi
        movl    %edi, %eax
        cpuid
        cmpl    $0x7263694d, %ebx       # "Micr": with the Hyper-V interface on, the real one follows
        jne     1f
        movl    $0x40000100, %eax
        cpuid
        movl    %eax, %r8d
        shrl    $8, %r8d
        cmpl    $0x400001, %r8d         # its highest leaf lies in its own range: there is one
        jne     4f
        movl    $0x40000100, %edi
        jmp     1f
4:      movl    %edi, %eax              # nothing follows: it is Hyper-V itself
        cpuid
1:      movl    %eax, %r8d              # its highest leaf
        movl    %ebx, %eax
        orl     %ecx, %eax
        orl     %edx, %eax
        jz      2f                      # a leaf of zeroes: the bit is set, but nobody says who it is
        movl    %edi, mailbox + MAILBOX_CPUID_BASE
        movl    %ebx, mailbox + MAILBOX_SIGNATURE
        movl    %ecx, mailbox + MAILBOX_SIGNATURE + 4
        movl    %edx, mailbox + MAILBOX_SIGNATURE + 8
        leal    1(%rdi), %eax
        cmpl    %eax, %r8d
        jb      2f
        cpuid
        movl    %eax, mailbox + MAILBOX_HYPERVISOR_VERSION
2:      movl    %esi, %ecx
        movl    $FUNCTION_BOOT, %eax
        callq   gate_common             # the host answers with an upcall of the image
        movq    %rax, %rcx
        movl    $FUNCTION_END, %eax
        callq   gate_common
3:      cli
        hlt
        jmp     3b

# Says on the first serial port, with nobody else to say it, that the host gave no answer; then stops.
abandon:
        cli
        movl    $stack_top, %esp
        movl    $no_answer, %esi
1:      lodsb
        testb   %al, %al
        jz      5f
        movl    %eax, %ecx
        movl    $COM1 + 5, %edx         # line status
        movl    $100000, %edi           # a port that is missing or stuck keeps nobody waiting
2:      inb     %dx, %al
        testb   $0x20, %al              # transmitter holding register empty
        jnz     4f
        decl    %edi
        jnz     2b
4:      movl    %ecx, %eax
        movl    $COM1, %edx
        outb    %al, %dx
        jmp     1b
5:      movl    $EXIT_PORT, %edx
        outb    %al, %dx
        jmp     3b
no_answer:
        .asciz  "\r\npvefi: the host has not answered a call for too long; the guest stops here\r\n"

# Exceptions while the image has no handlers of its own: the host gets the frame, and nothing goes on.
        .macro  exception vector
exception_\vector:
        .if     (\vector == 8) || (\vector >= 10 && \vector <= 14) || (\vector == 17) || (\vector == 21) || (\vector >= 29 && \vector <= 30)
        .else
        pushq   $0                      # where the CPU pushes no error code
        .endif
        pushq   $\vector
        jmp     exception_common
        .endm
        .altmacro
        .set    vector, 0
        .rept   32
        exception %vector
        .set    vector, vector + 1
        .endr
        .noaltmacro
exception_common:
        pushq   %rax
        movq    %cr2, %rax
        xchgq   %rax, (%rsp)            # FRAME_CR2 at 0, and %rax as it was
        movq    %rsp, %rcx
        movq    $0, mailbox + MAILBOX_LOCK      # the exception may have come between doorbell and answer
        subq    $32, %rsp
        movl    $FUNCTION_EXCEPTION, %eax
        callq   gate_common
        jmp     3b

# Enters an image in the state at %rdi, interrupts off. The state lies below 4 GiB.
enter:
        cli
        cld
        lgdt    STATE_GDT(%rdi)
        cmpl    $32, STATE_BITS(%rdi)
        je      enter32
        movl    STATE_DATA(%rdi), %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %eax, %fs
        movl    %eax, %gs
        movq    STATE_RSP(%rdi), %rsp
        pushq   STATE_CODE(%rdi)        # lretq takes these two and leaves %rsp as the state has it
        pushq   STATE_RIP(%rdi)
        pushq   $0x2                    # RFLAGS: its one fixed bit
        popfq
        movq    STATE_RAX(%rdi), %rax
        movq    STATE_RBX(%rdi), %rbx
        movq    STATE_RCX(%rdi), %rcx
        movq    STATE_RDX(%rdi), %rdx
        movq    STATE_RSI(%rdi), %rsi
        movq    STATE_RBP(%rdi), %rbp
        movq    STATE_R8(%rdi), %r8
        movq    STATE_R9(%rdi), %r9
        movq    STATE_R10(%rdi), %r10
        movq    STATE_R11(%rdi), %r11
        movq    STATE_R12(%rdi), %r12
        movq    STATE_R13(%rdi), %r13
        movq    STATE_R14(%rdi), %r14
        movq    STATE_R15(%rdi), %r15
        movq    STATE_RDI(%rdi), %rdi
        lretq
enter32:
        lidt    no_idt                  # its gates are those of long mode
        movl    $stack_top, %esp
        pushq   STATE_CODE(%rdi)        # a 32-bit code segment: compatibility mode first
        pushq   $compatibility
        lretq
        .code32
compatibility:
        movl    %cr0, %eax
        andl    $0x7fffffff, %eax       # CR0.PG off: long mode ends
        movl    %eax, %cr0
        movl    $0xc0000080, %ecx       # IA32_EFER
        xorl    %eax, %eax
        xorl    %edx, %edx
        wrmsr
        movl    %eax, %cr4
        movl    %eax, %cr3
        movl    $0x11, %eax             # CR0: ET and PE, all that start_info.h and boot.rst ask for
        movl    %eax, %cr0
        movl    STATE_DATA(%edi), %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    %eax, %fs
        movl    %eax, %gs
        movzwl  STATE_TSS(%edi), %eax
        testl   %eax, %eax
        jz      1f
        ltr     %ax
1:      movl    STATE_RSP(%edi), %esp
        pushl   STATE_RIP(%edi)         # ret takes it and leaves %esp as the state has it
        pushl   $0x2
        popfl
        movl    STATE_RAX(%edi), %eax
        movl    STATE_RBX(%edi), %ebx
        movl    STATE_RCX(%edi), %ecx
        movl    STATE_RDX(%edi), %edx
        movl    STATE_RSI(%edi), %esi
        movl    STATE_RBP(%edi), %ebp
        movl    STATE_RDI(%edi), %edi
        ret
        .code64

        .balign 8
        .balign 16
float_state:                            # UEFI 2.10 §2.3.4: all exceptions masked, round to nearest
        .word   0x037f                  # what fninit makes of the x87 control word
        .balign 8
        .skip   16
        .long   0x1f80                  # MXCSR
        .balign 16
        .skip   480
        .balign 8
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
        .balign 16
gdt:    .quad   0
        .quad   0x00cf93000000ffff      # 08 data
        .quad   0x00cf9b000000ffff      # 10 32-bit code (Linux __BOOT_CS)
        .quad   0x00cf93000000ffff      # 18 data (Linux __BOOT_DS)
        .quad   0x0000890000000067      # 20 32-bit TSS, base 0, limit 0x67: xen/docs/misc/pvh.pandoc
        .quad   0
        .quad   0x00cf93000000ffff      # 30 data
        .quad   0x00af9b000000ffff      # 38 64-bit code
        .word   0x67                    # 40 64-bit TSS: limit, base, available
        .word   (tss - boot_start + BOOT_PART) & 0xffff
        .byte   (tss - boot_start + BOOT_PART) >> 16 & 0xff
        .byte   0x89, 0
        .byte   (tss - boot_start + BOOT_PART) >> 24
        .quad   0
gdt_end:
        .balign 8
tss:    .skip   0x24                    # Intel SDM vol. 3A §8.7: the first interrupt stack is at 0x24
        .quad   exception_stack_top
        .skip   0x68 - 0x2c
        .balign 8
idt_pointer:
        .word   idt_end - idt - 1
        .quad   idt
no_idt: .word   0
        .quad   0
        .balign 16
        .macro  gate vector             # Intel SDM vol. 3A §6.14.1: interrupt gate, interrupt stack 1
        .word   (exception_\vector - boot_start + BOOT_PART) & 0xffff
        .word   0x38
        .byte   1, 0x8e
        .word   (exception_\vector - boot_start + BOOT_PART) >> 16
        .quad   0
        .endm
        .altmacro
idt:    .set    vector, 0
        .rept   32
        gate    %vector
        .set    vector, vector + 1
        .endr
        .noaltmacro
idt_end:
blocking_port:                          # the machine's choice, in the file: MAILBOX_BLOCKING before any call
        .long   0

# Identity map of the first 4 GiB. Page 0 is absent: a call through NULL faults at once. The host enters
# what lies above; entries that were absent need no flush.
        .set    PRESENT_WRITE, 0x3
        .set    LARGE, 0x80
        .balign 4096
page_map_level4:
        .quad   page_directory_pointers + PRESENT_WRITE
        .fill   511, 8, 0
page_directory_pointers:
        .quad   page_directories + PRESENT_WRITE
        .quad   page_directories + 0x1000 + PRESENT_WRITE
        .quad   page_directories + 0x2000 + PRESENT_WRITE
        .quad   page_directories + 0x3000 + PRESENT_WRITE
        .fill   508, 8, 0
page_directories:
        .quad   first_page_table + PRESENT_WRITE
        .set    at, 0x200000
        .rept   2047
        .quad   at + PRESENT_WRITE + LARGE
        .set    at, at + 0x200000
        .endr
first_page_table:
        .quad   0
        .set    at, 0x1000
        .rept   511
        .quad   at + PRESENT_WRITE
        .set    at, at + 0x1000
        .endr

        .section .stack, "aw", @nobits
        .skip   0x24000                 # UEFI 2.10 §2.3.4: 128 KiB for the image, the rest for pvefi's own
stack_top:
        .skip   0x1000                  # for exceptions: a stack of their own, whatever has become of the other
exception_stack_top:
        .section .arena, "aw", @nobits
boot_arena:                             # boot services table, protocol interfaces, device paths
        .skip   0x20000
