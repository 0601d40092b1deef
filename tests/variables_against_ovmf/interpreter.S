# SPDX-License-Identifier: GPL-2.0-or-later
#
# An EFI program that calls runtime services as a list says, and writes what came of it to a serial port.
#
# The list begins at `list`, the program's end; program.py appends it. It is a header, 8 bytes,
#
#       u16 port, u16 port of the line status, 0 for none, u32 0
#
# and then operations, each a multiple of 8 bytes,
#
#       u32 size, 0 after the last; u16 kind; u16 which arguments are offsets from `list`, a bit for each
#       u32 offset from `list`, u32 size, of what is written besides the status
#       u64 arguments, five
#
# whose kind is a service's offset in EFI_RUNTIME_SERVICES, or one of these:
        .set EXIT_BOOT_SERVICES, 0
        .set WALK,               1      # GetNextVariableName from the first variable to the last
# Of each operation its number is written, u32, its status, u64, and the bytes it names. After the last one
# the number is END, and the program switches the machine off.
        .set END,                0xffffffff

# UEFI 2.10 §4.3.1, §4.4.1, §4.5.1: offsets in the tables.
        .set RUNTIME_SERVICES,   0x58
        .set BOOT_SERVICES,      0x60
        .set GET_MEMORY_MAP,     0x38
        .set EXIT_BOOT,          0xe8
        .set GET_NEXT_NAME,      0x50
        .set RESET_SYSTEM,       0x68
        .set RESET_SHUTDOWN,     2      # EfiResetShutdown, UEFI 2.10 §8.5.1
        .set BUFFER_TOO_SMALL,   5      # UEFI 2.10 Appendix D, without the bit that makes it an error
        .set TRANSMITTER_EMPTY,  0x20   # in the line status of a 16550
        .set TRIES,              8      # of ExitBootServices, while the memory map changes in between
        .set MAP_ROOM,           0x10000
        .set NAME_ROOM,          0x10000
        .set STEPS,              0x2000 # of a walk, so that one without end ends

# rbx = list, rbp = the operation's number, r12, r13 = runtime and boot services, r14 = the operation,
# r15 = this image's handle. Nothing is saved: the program never returns.
        .globl _start
_start:
        cld
        and     $-16, %rsp
        sub     $0x60, %rsp             # home space, the fifth argument at 0x20, five words at 0x30
        mov     %rcx, %r15
        mov     RUNTIME_SERVICES(%rdx), %r12
        mov     BOOT_SERVICES(%rdx), %r13
        lea     list(%rip), %rbx
        lea     8(%rbx), %r14
        xor     %ebp, %ebp
next:
        mov     (%r14), %eax
        test    %eax, %eax
        jz      end
        movzwl  4(%r14), %eax
        cmp     $WALK, %eax
        je      walk
        jb      exit_boot_services

        movzwl  6(%r14), %edx           # an argument whose bit is set is an offset
        xor     %ecx, %ecx
1:      mov     16(%r14,%rcx,8), %r8
        shr     %edx
        jnc     2f
        add     %rbx, %r8
2:      mov     %r8, 0x30(%rsp,%rcx,8)
        inc     %ecx
        cmp     $5, %ecx
        jb      1b
        mov     0x50(%rsp), %rdx
        mov     %rdx, 0x20(%rsp)
        mov     0x30(%rsp), %rcx
        mov     0x38(%rsp), %rdx
        mov     0x40(%rsp), %r8
        mov     0x48(%rsp), %r9
        call    *(%r12,%rax)
done:
        call    tell
        mov     8(%r14), %esi
        add     %rbx, %rsi
        mov     12(%r14), %ecx
        call    put
advance:
        mov     (%r14), %eax
        add     %rax, %r14
        inc     %ebp
        jmp     next

exit_boot_services:
        mov     $TRIES, %edi
1:      movq    $MAP_ROOM, 0x30(%rsp)
        lea     0x30(%rsp), %rcx        # size, key, size and version of a descriptor
        lea     map(%rip), %rdx
        lea     0x38(%rsp), %r8
        lea     0x40(%rsp), %r9
        lea     0x48(%rsp), %r10
        mov     %r10, 0x20(%rsp)
        call    *GET_MEMORY_MAP(%r13)
        mov     %r15, %rcx
        mov     0x38(%rsp), %rdx
        call    *EXIT_BOOT(%r13)
        test    %rax, %rax
        jz      2f
        dec     %edi
        jnz     1b
2:      cli                             # an operating system's timer interrupt would be its own
        jmp     done

# Each step has room for the name before it only, so that one that is too short is told its size. Of each
# call status and size are written, and of one that succeeds GUID and name.
walk:
        xor     %eax, %eax
        call    tell
        movw    $0, name(%rip)
        movq    $2, name_size(%rip)
        mov     $STEPS, %edi
1:      lea     name_size(%rip), %rcx
        lea     name(%rip), %rdx
        lea     vendor(%rip), %r8
        call    *GET_NEXT_NAME(%r12)
        mov     %rax, status(%rip)
        lea     status(%rip), %rsi
        mov     $16, %ecx               # status, name_size
        call    put
        mov     status(%rip), %rax
        cmpq    $NAME_ROOM, name_size(%rip)
        ja      advance
        test    %rax, %rax
        jz      2f
        btr     $63, %rax
        cmp     $BUFFER_TOO_SMALL, %rax
        jne     advance
        jmp     3f
2:      lea     vendor(%rip), %rsi
        mov     name_size(%rip), %ecx
        add     $16, %ecx               # vendor, name
        call    put
3:      dec     %edi
        jnz     1b
        jmp     advance

end:
        mov     $END, %ebp
        xor     %eax, %eax
        call    tell
        mov     $RESET_SHUTDOWN, %ecx
        xor     %edx, %edx
        xor     %r8d, %r8d
        xor     %r9d, %r9d
        call    *RESET_SYSTEM(%r12)
1:      hlt
        jmp     1b

# Write the operation's number and the status in rax.
tell:
        mov     %ebp, number(%rip)
        mov     %rax, number+4(%rip)
        lea     number(%rip), %rsi
        mov     $12, %ecx
# Write ecx bytes at rsi.
put:
        jecxz   3f
        movzwl  2(%rbx), %edx
        test    %edx, %edx
        jz      2f
1:      in      (%dx), %al
        test    $TRANSMITTER_EMPTY, %al
        jz      1b
2:      movzwl  (%rbx), %edx
        mov     (%rsi), %al
        out     %al, (%dx)
        inc     %rsi
        dec     %ecx
        jmp     put
3:      ret

        .balign 8
number: .skip   12
        .balign 8
status:         .quad 0
name_size:      .quad 0
vendor:         .skip 16
name:           .skip NAME_ROOM
map:            .skip MAP_ROOM
        .balign 8
list:
