# SPDX-License-Identifier: GPL-2.0-or-later
# A guest that tells how fast a machine is, given to QEMU as its firmware: it starts at the reset vector, goes to
# long mode as every boot does, and writes a byte to the port MARKS at each step, which the host times.
#
#   'R'  long mode is reached
#   'P'  READS reads of a port have been done, each of which ends in the machine's process
#   'L'  a loop has been done: FIRST_LOOP rounds, then twice as many each time, LOOPS times
#
# Then it ends QEMU by the port EXIT, so that nothing is left running even when the host has died.
        .set    MARKS, 0x402                    # I/O port of isa-debugcon
        .set    EXIT, 0x501                     # I/O port of isa-debug-exit
        .set    READS, 512
        .set    FIRST_LOOP, 1024
        .set    LOOPS, 20

        .set    PML4, 0x1000                    # page tables, in RAM that is zero at reset
        .set    PDPT, 0x2000
        .set    PD, 0x3000
        .set    PRESENT_WRITABLE, 0x3
        .set    LARGE, 0x80
        .set    CR0_PE, 1
        .set    CR0_PG, 1 << 31
        .set    CR4_PAE, 1 << 5
        .set    IA32_EFER, 0xc0000080
        .set    EFER_LME, 1 << 8
        .set    SELECTOR_CODE32, 0x08
        .set    SELECTOR_DATA, 0x10
        .set    SELECTOR_CODE64, 0x18

        .text
        .code16
        .globl  _start
_start: cli
        lgdtl   %cs:gdt_pointer - _start + 0xff00
        movl    %cr0, %eax
        orb     $CR0_PE, %al
        movl    %eax, %cr0
        ljmpl   $SELECTOR_CODE32, $protected

        .code32
protected:
        movl    $SELECTOR_DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        # One page of 2 MiB, the last below 4 GiB: all that this program needs to see in long mode.
        movl    $PDPT + PRESENT_WRITABLE, PML4
        movl    $PD + PRESENT_WRITABLE, PDPT + 3 * 8
        movl    $0xffe00000 + LARGE + PRESENT_WRITABLE, PD + 511 * 8
        movl    $CR4_PAE, %eax
        movl    %eax, %cr4
        movl    $PML4, %eax
        movl    %eax, %cr3
        movl    $IA32_EFER, %ecx
        rdmsr
        orl     $EFER_LME, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $CR0_PG, %eax
        movl    %eax, %cr0
        ljmpl   $SELECTOR_CODE64, $long_mode

        .code64
long_mode:
        movl    $MARKS, %edx
        movb    $'R', %al
        outb    %al, %dx
        movl    $READS, %ecx
1:      inb     %dx, %al
        decl    %ecx
        jnz     1b
        movb    $'P', %al
        outb    %al, %dx
        movl    $FIRST_LOOP, %ebx
        movl    $LOOPS, %esi
2:      movl    %ebx, %ecx
3:      decl    %ecx                            # two instructions a round
        jnz     3b
        movb    $'L', %al
        outb    %al, %dx
        addl    %ebx, %ebx
        decl    %esi
        jnz     2b
        movl    $EXIT, %edx
        outb    %al, %dx
4:      hlt
        jmp     4b

        # Descriptors have their accessed bit set: the CPU need not write to what is ROM.
        .balign 8
gdt:    .quad   0
        .quad   0x00cf9b000000ffff              # 32-bit code
        .quad   0x00cf93000000ffff              # data
        .quad   0x00af9b000000ffff              # 64-bit code
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt

        .section .reset, "ax"
        .code16
        jmp     _start
