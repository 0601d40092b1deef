# SPDX-License-Identifier: GPL-2.0-or-later
# A PVH guest that does nothing but write to an I/O port, over and over: what one ioreq takes, with nothing else.
# Its first instruction runs in 32-bit protected mode without paging (Xen docs/misc/pvh.pandoc).
#
# as --64 -o xen_bare.o bench/xen_bare.S && ld -m elf_x86_64 -Ttext=0x100000 -o xen_bare.elf xen_bare.o

        .section .note.Xen, "a", @note
        .balign 4
        .long 4, 4, 18                  # namesz, descsz, XEN_ELFNOTE_PHYS32_ENTRY (xen/include/public/elfnote.h)
        .asciz "Xen"
        .long _start

        .text
        .code32
        .globl _start
_start: mov     $0x520, %edx            # DOORBELL_PORT of guest/mailbox.py, a byte as from a gate: all of it in range
1:      out     %al, %dx
        jmp     1b
