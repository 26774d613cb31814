"""What the picture tasks share: objects on a ground plane, cameras, and a ray caster that draws them."""
